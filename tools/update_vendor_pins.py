"""Resolve the pins of vendors' packages for tests: `python tools/update_vendor_pins.py [NAME ...]`.

`constraints/vendors/NAME.in` has the exact versions of a vendor's packages, and `NAME.txt` all that they need: the
tests install that file and nothing else. It names no index and no path. A first line `# no dependencies` in `NAME.in`
leaves out what the packages need: the file lists all of it.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDORS = ROOT / "constraints" / "vendors"
PLATFORM = ("--python-version", "3.11", "--universal")
_NO_DEPENDENCIES = "# no dependencies"


def main(names: list[str]) -> None:
    """Write the pins of these vendors, by default of all, or exit with uv's status at the first failure."""
    for source in sorted(VENDORS.glob("*.in")):
        if not names or source.stem in names:
            _resolve(source)


def _resolve(source: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    options = ["--no-deps"] if source.read_text().startswith(_NO_DEPENDENCIES) else []
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", *PLATFORM, *options, str(source)]
    resolved = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if resolved.returncode:
        sys.exit(resolved.returncode)
    source.with_suffix(".txt").write_text(resolved.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
