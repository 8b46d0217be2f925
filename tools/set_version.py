"""The version of the whole project: `python tools/set_version.py VERSION`, or `--check`, `--print`, `--notes`.

The version in the root's pyproject.toml is the source. Everything else that states it is listed here, and changed with
it: the services' distributions, the packages' `__version__`, the images in manifests, compose.yaml and docs, the Helm
chart, and the changelog, whose Unreleased section becomes the release's. `--check` prints what states another version,
`--print` the version, `--notes` its section of the changelog.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_VERSION = r"\d+\.\d+\.\d+"  # three numbers: Python, container tags and Helm agree on them
# Files, and the text before a version in them.
PLACES = (
    ("pyproject.toml", r'^version = "'),
    ("services/*/pyproject.toml", r'^version = "'),
    ("deepmath/__init__.py", r'^__version__ = "'),
    ("services/*/Dockerfile", r"^ARG VERSION="),
    ("compose.yaml", r"image: deepmath-[a-z]+:"),
    ("deploy/k8s/**/*.yaml", r"(?:image: deepmath-[a-z]+:|newTag: )"),
    ("deploy/helm/*/Chart.yaml", r'^(?:version: |appVersion: ")'),
    ("docs/*.md", r"deepmath-[a-z]+:|the tag `"),
)
_UNRELEASED = "## [Unreleased]\n"


def main() -> None:
    """Set or check the version.

    Raises:
        SystemExit: the version is not valid, or `--check` finds another one.
    """
    parser = argparse.ArgumentParser(description="Set the version of every distribution, image and manifest.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("version", nargs="?", help="New version, such as 0.2.0.")
    action.add_argument("--check", action="store_true", help="Print what states another version than pyproject.toml.")
    action.add_argument("--print", action="store_true", help="Print the version.")
    action.add_argument("--notes", action="store_true", help="Print the changelog's section of the version.")
    parser.add_argument("--root", type=Path, default=ROOT, help="Root of the checkout.")
    options = parser.parse_args()
    if options.check:
        sys.exit("\n".join(differing(options.root)) or 0)
    elif options.print:
        print(current(options.root))
    elif options.notes:
        print(notes(options.root))
    elif not re.fullmatch(_VERSION, options.version):
        parser.error(f"{options.version!r} is not a version such as 0.2.0")
    else:
        set_version(options.root, options.version)


def current(root: Path) -> str:
    """Return the version that the root's pyproject.toml states."""
    return next(version for file, _, version in statements(root) if file == root / "pyproject.toml")


def statements(root: Path) -> Iterator[tuple[Path, int, str]]:
    """Yield every place that states the version: file, line, version."""
    for pattern, before in PLACES:
        for file in sorted(root.glob(pattern)):
            for number, line in enumerate(file.read_text().splitlines(), 1):
                for found in re.finditer(f"({before})({_VERSION})", line):
                    yield file, number, found[2]


def differing(root: Path) -> list[str]:
    """Return the places that state another version than the root's pyproject.toml, a line each."""
    expected = current(root)
    found = [
        f"{file.relative_to(root)}:{line}: {version}, not {expected}"
        for file, line, version in statements(root)
        if version != expected
    ]
    return [*found, "run `python tools/set_version.py VERSION`"] if found else []


def notes(root: Path) -> str:
    """Return the changelog's section of the current version.

    Raises:
        SystemExit: it has none.
    """
    version = current(root)
    _, heading, rest = (root / "CHANGELOG.md").read_text().partition(f"\n## [{version}]")
    section = re.split(r"^## \[", rest.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not heading or not section:
        sys.exit(f"CHANGELOG.md has no section for {version}: run `python tools/set_version.py {version}`")
    return section


def set_version(root: Path, version: str) -> None:
    """Write `version` wherever the version stands, and date the changelog's section."""
    for pattern, before in PLACES:
        for file in root.glob(pattern):
            text = file.read_text()
            changed = re.sub(f"({before}){_VERSION}", lambda found: found[1] + version, text, flags=re.MULTILINE)
            if changed != text:
                file.write_text(changed)
    _date_changelog(root / "CHANGELOG.md", version)


def _date_changelog(changelog: Path, version: str) -> None:
    text = changelog.read_text()
    if f"## [{version}]" not in text:
        heading = f"{_UNRELEASED}\n## [{version}] - {datetime.now(UTC):%Y-%m-%d}\n"
        changelog.write_text(text.replace(_UNRELEASED, heading, 1))


if __name__ == "__main__":
    main()
