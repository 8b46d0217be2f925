"""Print what pyproject.toml in this folder asks for, with the extras that are named: what an image installs.

pip cannot install a project's libraries without the project, and an image wants them in a layer of their own.
"""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    print(*project["dependencies"], *(line for name in sys.argv[1:] for line in extras[name]), sep="\n")


if __name__ == "__main__":
    main()
