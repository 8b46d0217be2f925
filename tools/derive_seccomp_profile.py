"""Derive the seccomp profile of level `full` from that of level `pod`: `python tools/derive_seccomp_profile.py [FILE]`.

It adds the calls by which a zygote enters namespaces of its own and a minimal root (`isolation/namespaces.py` and
`rootfs.py` in `deepmath/sandbox`), with exactly the flags used there. FILE is `deploy/seccomp/executor-full.json` by
default.
"""

import json
import sys
from pathlib import Path
from typing import Any

PROFILES = Path(__file__).resolve().parent.parent / "deploy" / "seccomp"
_RULES = '  "syscalls": [\n'
# <linux/sched.h>, <linux/mount.h>, <linux/fcntl.h>
_NEW_NAMESPACES = 0x7C020000  # user, network, mount, ipc, uts, pid
_MS_PRIVATE_RECURSIVE = 1 << 14 | 1 << 18
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_MS_REMOUNT_READ_ONLY = 1 | 32 | _MS_NOSUID_NODEV_NOEXEC
_MNT_DETACH = 2
_OPEN_TREE_CLONE_RECURSIVE = 1 | 0o2000000 | 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_RECURSIVE_EMPTY_PATH = 0x8000 | 0x1000

# Comment, call, index of the argument with its flags, flags.
_CALLS = (
    ("New user, network, mount, ipc, uts and pid namespaces, all at once", "unshare", 0, _NEW_NAMESPACES),
    ("No mount of the container changes", "mount", 3, _MS_PRIVATE_RECURSIVE),
    ("The new root, a tmpfs", "mount", 3, _MS_NOSUID_NODEV_NOEXEC),
    ("The new root becomes read-only", "mount", 3, _MS_REMOUNT_READ_ONLY),
    ("A copy of a folder's mounts", "open_tree", 2, _OPEN_TREE_CLONE_RECURSIVE),
    ("Its place in the new root", "move_mount", 4, _MOVE_MOUNT_F_EMPTY_PATH),
    ("Its attributes: read-only, nosuid, nodev", "mount_setattr", 2, _AT_RECURSIVE_EMPTY_PATH),
    ("The old root goes", "umount2", 1, _MNT_DETACH),
)
# mkdirat is mkdir on arm64.
_WITHOUT_FLAGS = ("mkdir", "mkdirat", "pivot_root", "sethostname")


def derive(profile: str) -> str:
    """Return the text of the profile for level `full`, given that for level `pod`."""
    before, found, after = profile.partition(_RULES)
    if not found:
        raise ValueError(f"the profile has no line {_RULES.strip()!r}")
    return before + found + "".join(f"    {json.dumps(rule)},\n" for rule in _rules()) + after


def _rules() -> list[dict[str, Any]]:
    comment = "Level full: folders and name of the new root; the calls below too"
    return [
        {"comment": comment, "names": list(_WITHOUT_FLAGS), "action": "SCMP_ACT_ALLOW"},
        *(
            {
                "comment": comment,
                "names": [name],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": index, "value": flags, "op": "SCMP_CMP_EQ"}],
            }
            for comment, name, index, flags in _CALLS
        ),
    ]


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PROFILES / "executor-full.json"
    target.write_text(derive((PROFILES / "executor.json").read_text()))
