"""A Docker engine and the executor's image, for tests that need them: import the fixtures into a conftest."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "deepmath-executor:test"
PROFILE = ROOT / "deploy" / "seccomp" / "executor.json"
# As deployed: what `docker run` is told beside the network.
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--security-opt=seccomp={PROFILE}")


def docker(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the docker command to its end."""
    return subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, check=False)


def containers() -> set[str]:
    """Ids of all containers of executors, running or not."""
    return set(docker("ps", "--all", "--quiet", "--filter", "label=deepmath.executor.supervisor").stdout.split())


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where no Docker engine answers."""
    try:
        answer = docker("version", "--format", "{{.Server.Version}}")
    except FileNotFoundError:
        pytest.skip("the docker command is not installed")
    if answer.returncode != 0:
        pytest.skip(f"no Docker engine answers: {answer.stderr.strip()}")


@pytest.fixture(scope="session")
def image(engine) -> str:
    """The name of the executor's image, built from the sources as they are: the engine's cache makes that cheap."""
    build = ["make", "--no-print-directory", "images", f"EXECUTOR_IMAGE={IMAGE}"]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return IMAGE
