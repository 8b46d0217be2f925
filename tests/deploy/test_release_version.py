"""The version has one source, and one command sets it everywhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .manifests import ROOT

TOOL = ROOT / "tools" / "set_version.py"
STATED = ("pyproject.toml", "services", "deploy", "compose.yaml", "docs", "deepmath/__init__.py", "CHANGELOG.md")
# Whatever else looks like this version: other people's packages in the constraints and examples.
VERSION = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def set_version(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), "--root", str(root), *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of all files that state the version."""
    for name in STATED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.png", "*.svg"))
        else:
            shutil.copy(source, target)
    return tmp_path


def test_everything_states_the_version_of_the_checkout() -> None:
    checked = set_version("--check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_one_command_changes_the_version_everywhere(checkout) -> None:
    assert VERSION
    before = VERSION[1]
    assert set_version("987.6.5", root=checkout).returncode == 0
    assert set_version("--check", root=checkout).returncode == 0
    stale = [
        f"{file.relative_to(checkout)}: {line.strip()}"
        for file in checkout.rglob("*")
        if file.is_file() and file.suffix in {".yaml", ".toml", ".py", ".md", ".tpl", ""}
        for line in file.read_text(errors="replace").splitlines()
        if re.search(rf"(?<![\d.]){re.escape(before)}(?![\d.])", line)
    ]
    assert stale == []


def test_unreleased_changes_become_those_of_the_release(checkout) -> None:
    unreleased = (checkout / "CHANGELOG.md").read_text().partition("## [Unreleased]")[2]
    set_version("987.6.5", root=checkout)
    after = (checkout / "CHANGELOG.md").read_text()
    assert re.search(r"## \[Unreleased\]\n\n## \[987\.6\.5\] - \d{4}-\d\d-\d\d\n", after)
    assert after.endswith(unreleased)
    set_version("987.6.5", root=checkout)
    assert (checkout / "CHANGELOG.md").read_text() == after


def test_notes_of_a_release_are_its_section_of_the_changelog(checkout) -> None:
    unreleased = (checkout / "CHANGELOG.md").read_text().partition("## [Unreleased]\n")[2]
    assert "has no section for" in set_version("--notes", root=checkout).stderr
    set_version("987.6.5", root=checkout)
    notes = set_version("--notes", root=checkout).stdout.strip()
    assert notes
    assert unreleased.strip().startswith(notes)
    assert "\n## " not in notes


def test_version_is_printed(checkout) -> None:
    set_version("987.6.5", root=checkout)
    assert set_version("--print", root=checkout).stdout == "987.6.5\n"


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("services/trainer/pyproject.toml", 'version = "', 'version = "9'),
        ("compose.yaml", "image: deepmath-trainer:", "image: deepmath-trainer:9"),
        ("deploy/k8s/overlays/gpu/kustomization.yaml", "newTag: ", "newTag: 9"),
        ("deploy/helm/deepmath/Chart.yaml", "\nversion: ", "\nversion: 9"),
        ("deepmath/__init__.py", '__version__ = "', '__version__ = "9'),
    ],
)
def test_a_place_that_differs_is_named(checkout, file: str, before: str, after: str) -> None:
    path = checkout / file
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    checked = set_version("--check", root=checkout)
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"{file}:")


@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.3", "1.2.3rc1", "1.2.3\n", "1.2.3-x", "latest"])
def test_other_versions_are_refused(tmp_path, version: str) -> None:
    refused = set_version(version, root=tmp_path)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
