"""Print what pyproject.toml in this folder asks for: what an image installs.

With names of extras: the libraries of the base and of these. With --overrides: what uv is to take in place of what
libraries ask for. pip and uv cannot install a project's libraries without the project, and an image wants them in a
layer of their own.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    pyproject = tomllib.loads(Path("pyproject.toml").read_text())
    if sys.argv[1:] == ["--overrides"]:
        print(*pyproject["tool"]["uv"]["override-dependencies"], sep="\n")
        return
    project = pyproject["project"]
    print(*project["dependencies"], *(line for name in sys.argv[1:] for line in of_extra(project, name)), sep="\n")


def of_extra(project: dict[str, Any], extra: str) -> Iterator[str]:
    for line in project["optional-dependencies"][extra]:
        ours = re.fullmatch(re.escape(project["name"]) + r"\[(\w+)]", line)
        if ours:
            yield from of_extra(project, ours[1])
        else:
            yield line


if __name__ == "__main__":
    main()
