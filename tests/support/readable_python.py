"""A Python installation that every user can read: root at level pod runs sandboxes as another user."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# $1 is a closed folder, $2 a mount point, $3 to $# the folders in it to keep, up to `--`, before the program.
_OPEN = """
closed=$1 place=$2
shift 2
number=0
for kept; do
    [ "$kept" = -- ] && break
    number=$((number + 1))
    mkdir -p "$place/$number" && mount --bind "$kept" "$place/$number" || exit 1
done
mount -t tmpfs -o mode=755 none "$closed" || exit 1
number=0
while [ "$1" != -- ]; do
    number=$((number + 1))
    mkdir -p "$1" && mount --move "$place/$number" "$1" || exit 1
    shift
done
shift
exec "$@"
"""


def readable_by_everyone(command: list[str], place: Path) -> list[str]:
    """Return `command`, in a mount namespace that opens the folder above the Python installation if it is closed.

    Only root can enter one, and only root needs it. `place` is an empty folder for mount points.
    """
    needed = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT}
    closed = next((path for path in _ancestors(Path(sys.base_prefix)) if not path.stat().st_mode & 1), None)
    if os.geteuid() != 0 or closed is None:
        return command
    kept = [str(path) for path in needed if closed in path.parents]
    return ["unshare", "--mount", "sh", "-c", _OPEN, "sh", str(closed), str(place), *kept, "--", *command]


def _ancestors(path: Path) -> list[Path]:
    return list(reversed(path.resolve().parents))
