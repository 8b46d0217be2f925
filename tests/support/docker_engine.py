"""A Docker engine and the executor's image, for tests that need them: import the fixtures into a conftest."""

import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "deepmath-executor:test"
PROFILE = ROOT / "deploy" / "seccomp" / "executor.json"
MANIFEST = ROOT / "deploy" / "k8s" / "base" / "executor" / "deployment.yaml"


def _security_context() -> tuple[str, ...]:
    """What `docker run` is told beside the network: the security context of the manifest, all of it, and its limits."""
    pod = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    most = container["resources"]["limits"]
    context = pod["securityContext"] | container["securityContext"]
    profile = context.pop("seccompProfile")
    options = [
        *("--user={runAsUser}:{runAsGroup}".format(**context), "--read-only", "--security-opt=no-new-privileges"),
        f"--security-opt=seccomp={PROFILE.parent / Path(profile['localhostProfile']).name}",
        *(f"--cap-drop={name}" for name in context.pop("capabilities")["drop"]),
        *(f"--cpus={most['cpu']}", f"--memory={most['memory'].removesuffix('i').lower()}"),
    ]
    assert (context.pop("runAsUser"), context.pop("runAsGroup"), context.pop("fsGroup")) == (65534,) * 3
    rest = {"runAsNonRoot", "readOnlyRootFilesystem"}  # as above, in other words
    assert context == dict.fromkeys(rest, True) | {"allowPrivilegeEscalation": False, "privileged": False}
    return tuple(options)


HARDENED = _security_context()


def run_hardened(image: str, *options: str) -> tuple[str, ...]:
    """What `docker` is told to run an executor with the manifest's security context; its arguments follow.

    It shares the network of the machine: what a snippet cannot reach then, it reaches nowhere.
    """
    return "run", "--network=host", "--no-healthcheck", *options, *HARDENED, image


def as_deployed(image: str, folder: Path) -> tuple[str, ...]:
    """The command of an executor in such a container, which `folder` is shared with."""
    folder.chmod(0o777)  # the socket is made by the container's user
    shared = (f"--volume={folder}:{folder}", f"--cidfile={folder}/container")
    return "docker", *run_hardened(image, "--rm", "--env=A_SECRET", *shared)


def pid_in_engine(folder: Path) -> int:
    """Return what the process of the container that `as_deployed` made there is called on this machine."""
    found = docker("inspect", "--format={{.State.Pid}}", (folder / "container").read_text())
    return int(found.stdout)


def docker(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the docker command to its end."""
    return subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, check=False)


def containers() -> set[str]:
    """Ids of all containers of executors, running or not."""
    return set(docker("ps", "--all", "--quiet", "--filter", "label=deepmath.executor.supervisor").stdout.split())


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Skips where no Docker engine answers."""
    try:
        answer = docker("version", "--format", "{{.Server.Version}}")
    except FileNotFoundError:
        pytest.skip("the docker command is not installed")
    if answer.returncode != 0:
        pytest.skip(f"no Docker engine answers: {answer.stderr.strip()}")


@pytest.fixture(scope="session")
def image(docker_engine) -> str:
    """The name of the executor's image, built from the sources as they are: the engine's cache makes that cheap."""
    build = ["make", "--no-print-directory", "images", "IMAGES=executor", f"EXECUTOR_IMAGE={IMAGE}"]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return IMAGE
