"""Fixtures for a Docker engine and the executor's image. Import them into a conftest."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "deepmath-executor:test"
PROFILE = ROOT / "deploy" / "seccomp" / "executor.json"
FULL_PROFILE = PROFILE.with_name("executor-full.json")
_MANIFESTS = ROOT / "deploy" / "k8s" / "base"


def _security_context(manifest: str) -> tuple[str, ...]:
    """Return the options of `docker run` for a manifest's complete security context and its resource limits."""
    pod = yaml.safe_load((_MANIFESTS / manifest).read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    limits = container["resources"]["limits"]
    context = pod["securityContext"] | container["securityContext"]
    profile = context.pop("seccompProfile")
    options = [
        *("--user={runAsUser}:{runAsGroup}".format(**context), "--read-only", "--security-opt=no-new-privileges"),
        *_seccomp(profile),
        *(f"--cap-drop={name}" for name in context.pop("capabilities")["drop"]),
        *(f"--cpus={limits['cpu']}", f"--memory={limits['memory'].removesuffix('i').lower()}"),
    ]
    assert (context.pop("runAsUser"), context.pop("runAsGroup"), context.pop("fsGroup")) == (65534,) * 3
    implied = {"runAsNonRoot", "readOnlyRootFilesystem"}  # by the options above
    assert context == dict.fromkeys(implied, True) | {"allowPrivilegeEscalation": False, "privileged": False}
    return tuple(options)


def _seccomp(profile: dict[str, str]) -> Iterator[str]:
    if profile["type"] == "Localhost":  # the other type is the engine's own profile
        yield f"--security-opt=seccomp={PROFILE.parent / Path(profile['localhostProfile']).name}"


HARDENED = _security_context("executor/deployment.yaml")
HARDENED_TRAINER = _security_context("trainer/job.yaml")
# With the component level-full.
HARDENED_FULL = tuple(option.replace(str(PROFILE), str(FULL_PROFILE)) for option in HARDENED)


def run_hardened(image: str, *options: str, hardening: tuple[str, ...] = HARDENED) -> tuple[str, ...]:
    """Return the arguments of `docker` that run an executor as the manifest does; append the executor's own.

    The container shares the machine's network: an address that a snippet cannot reach there, it can reach nowhere.
    """
    return "run", "--network=host", "--no-healthcheck", *hardening, *options, image


@dataclass(frozen=True)
class Deployment:
    """An executor's image as it is deployed: the options of its security context, and the engine that runs it."""

    image: str
    hardening: tuple[str, ...] = HARDENED
    engine: tuple[str, ...] = ("docker",)

    def command(self, folder: Path, *options: str) -> tuple[str, ...]:
        """Return the command that runs it in a container with `folder` shared; `options` are the engine's."""
        folder.chmod(0o777)  # the container's user creates the socket there
        shared = (f"--volume={folder}:{folder}", f"--cidfile={folder}/container")
        run = run_hardened(self.image, "--rm", "--env=A_SECRET", *shared, *options, hardening=self.hardening)
        return *self.engine, *run

    def host_pid(self, folder: Path) -> int:
        """Return the process id on this machine of the container that `command` started with `folder`."""
        inspect = (*self.engine, "inspect", "--format={{.State.Pid}}", (folder / "container").read_text())
        return int(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout)


def docker(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the docker command."""
    return subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, check=False)


def containers() -> set[str]:
    """Return the ids of all containers of executors, running or not."""
    return set(docker("ps", "--all", "--quiet", "--filter", "label=deepmath.executor.supervisor").stdout.split())


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Skip the test if no Docker engine answers."""
    try:
        answer = docker("version", "--format", "{{.Server.Version}}")
    except FileNotFoundError:
        pytest.skip("the docker command is not installed")
    if answer.returncode != 0:
        pytest.skip(f"no Docker engine answers: {answer.stderr.strip()}")


@pytest.fixture(scope="session")
def image(docker_engine: None) -> str:
    """The executor's image, built from the working tree; the engine's cache makes that cheap."""
    build = ["make", "--no-print-directory", "images", "IMAGES=executor", f"EXECUTOR_IMAGE={IMAGE}"]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return IMAGE
