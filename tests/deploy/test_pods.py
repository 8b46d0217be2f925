"""The overlay cpu-demo with tokens as real pods, which solve and train together over mutual TLS.

The trainer starts first and waits for the others. An executor and the generator are killed while it trains. A second
run follows on the same generator.

DEEPMATH_KUBE_PODS names a command that runs manifests as pods with podman (`load IMAGE...`, `up FILE SECCOMP_FOLDER`,
`down FILE`). Without it these tests are skipped. `make test-pods` builds the images and runs them.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepmath.access.certificate_authority import create_ca, issue_certificate
from deepmath.access.token_file_editor import generate_token, write_client
from deepmath.access.tokens import Scope, TokenClient, hash_token
from deepmath.clients import GeneratorClient
from deepmath.data.synthetic import generate
from deepmath.errors import Forbidden, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb

from .manifests import ROOT, Manifest, render
from .podman_pods import Machine, PodmanPods, podman_pods

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_NOBODY = 65534  # the pods' user
_NAMES = {
    "executor": ["executor"],
    "generator": ["generator"],
    "trainer": ["trainer"],
    "me": [],
}
_READY_SECONDS = 300
PROFILES = str(ROOT / "deploy" / "seccomp")


@dataclass(frozen=True)
class Pods:
    """Running pods, and the credentials of their clients."""

    folder: Path
    converted: PodmanPods

    @property
    def runs(self) -> Path:
        return self.folder / "volumes" / "runs"

    def state(self, run: str) -> dict[str, Any]:
        """Return the state of a run; empty before it has started."""
        file = self.runs / run / "state.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def trainer_of(self, run: str) -> Path:
        """Return the manifest of a trainer's pod for a run."""
        file = _part(self.folder / "pods.yaml", lambda name: name.startswith("trainer"))
        text = (
            file.read_text().replace("--name=run", f"--name={run}").replace("name: trainer-0", f"name: trainer-{run}")
        )
        file.write_text(text)
        return file.rename(file.with_name(f"{run}.yaml"))

    @property
    def generator(self) -> str:
        return f"{self.converted.addresses['generator-0']}:7302"

    def client(self, token: str = "me", tls: str | None = "me") -> GeneratorClient:
        return GeneratorClient(
            self.generator, tls=self.folder / tls if tls else None, token_file=self.folder / f"{token}.token"
        )


def kube_pods(*arguments: str) -> str:
    command = os.environ["DEEPMATH_KUBE_PODS"]
    ended = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def rendered(kustomize_command) -> list[Manifest]:
    if not os.environ.get("DEEPMATH_KUBE_PODS"):
        pytest.skip("DEEPMATH_KUBE_PODS is not set: no command to run manifests as pods")
    return render("cpu-demo", "tokens")


@pytest.fixture(scope="module")
def pods(rendered, tmp_path_factory) -> Iterator[Pods]:
    """The trainer's pod, which waits, then ready executors and generator."""
    folder = tmp_path_factory.mktemp("pods")
    folder.chmod(0o755)
    converted = podman_pods(rendered, Machine(folder))
    _make_secrets(folder, converted)
    everything = converted.write(folder)
    images = {container["image"] for pod in _pods(converted) for container in pod["spec"]["containers"]}
    kube_pods("load", *(image.removeprefix("localhost/") for image in images))
    serving = _part(everything, lambda name: not name.startswith("trainer"))
    made = Pods(folder, converted)
    trainer = made.trainer_of("run")
    started = []
    try:
        for part in (trainer, serving):
            started.append(part)
            kube_pods("up", str(part), PROFILES)
            if part == trainer:
                _wait_until(lambda: made.state("run").get("status") == "waiting", "the trainer does not wait")
        asyncio.run(_ready(made))
        yield made
    finally:
        for part in started:
            kube_pods("down", str(part))


@pytest.fixture(scope="module")
def first_run(pods) -> Pods:
    """The pods after a run during which an executor and the generator were killed."""
    _wait_until(lambda: pods.state("run")["step"] >= 2, "the run did not start")
    _kill("executor-0-executor")
    _wait_until(lambda: pods.state("run")["step"] >= 4, "the run did not continue without an executor")
    _kill("generator-0-generator")
    _wait_until(lambda: pods.state("run")["status"] in ("done", "failed"), "the run did not finish")
    return pods


def _pods(converted: PodmanPods) -> list[Manifest]:
    return [manifest for manifest in converted.manifests if manifest["kind"] == "Pod"]


def _part(everything: Path, wanted) -> Path:
    """Write the pods whose names satisfy `wanted`, with all ConfigMaps."""
    manifests = list(yaml.safe_load_all(everything.read_text()))
    part = [one for one in manifests if one["kind"] != "Pod" or wanted(one["metadata"]["name"])]
    names = [one["metadata"]["name"] for one in part if one["kind"] == "Pod"]
    path = everything.with_name(f"{names[0]}.yaml")
    path.write_text(yaml.safe_dump_all(part, sort_keys=False))
    return path


def _make_secrets(folder: Path, converted: PodmanPods) -> None:
    """Write certificates and tokens to the folders that replace Secrets."""
    create_ca(folder / "authority", days=2)
    for name, dns in _NAMES.items():
        ips = list(converted.of(name).values())
        made = issue_certificate(folder / "authority", name, dns, ips, days=2)
        shutil.copytree(made, folder / (name if name == "me" else f"{name}-tls"))
    tokens: dict[tuple[str, str], list[Scope]] = {
        ("executor", "generator"): ["execute"],
        ("generator", "trainer"): ["generate", "update-adapter"],
        ("generator", "me"): ["generate"],
        ("generator", "other"): ["train"],
    }
    for (service, client), scopes in tokens.items():
        token = generate_token()
        secret = folder / f"{service}-tokens"
        secret.mkdir(exist_ok=True)
        write_client(secret / "tokens.toml", client, TokenClient(sha256=hash_token(token), scopes=frozenset(scopes)))
        (folder / f"{client}.token").write_text(token)
        if client in _NAMES and client != "me":
            own = folder / f"{client}-token"
            own.mkdir()
            (own / "token").write_text(token)
    for secret in folder.glob("*-*"):
        for path in (secret, *secret.iterdir()):
            os.chown(path, _NOBODY, _NOBODY)


async def _ready(made: Pods) -> None:
    async with made.client() as client:
        await client.get_info(_READY_SECONDS)


def _prompts(count: int) -> list[pb.RolloutPrompt]:
    return [
        pb.RolloutPrompt(id=str(at), question=problem.problem, seed=at)
        for at, problem in enumerate(generate(count, "test", 0))
    ]


async def _rollout(made: Pods, count: int) -> list[pb.Trajectory]:
    async with made.client() as client:
        return [one.trajectory async for one in client.rollout(_prompts(count))]


async def test_generator_solves_through_the_executors(pods) -> None:
    found = await _rollout(pods, 32)
    assert len(found) == 32
    assert all(one.status != pb.STATUS_INFRASTRUCTURE_FAILED for one in found)
    assert sum(bool(one.snippets) for one in found) > 8


async def test_client_without_a_certificate_is_rejected(pods) -> None:
    async with pods.client(tls=None) as client:
        with pytest.raises(Unavailable):
            await client.get_info(5.0)


async def test_token_without_the_scope_is_rejected(pods) -> None:
    async with pods.client(token="other") as client:
        with pytest.raises(Forbidden, match="scope"):
            await client.get_info(5.0)


async def test_executor_killed_under_load_loses_no_trajectory(first_run) -> None:
    rolling = asyncio.create_task(_rollout(first_run, 96))
    await asyncio.sleep(1.5)
    assert not rolling.done()
    await asyncio.to_thread(_kill, "executor-1-executor")
    found = await rolling
    assert len(found) == 96
    assert all(one.status != pb.STATUS_INFRASTRUCTURE_FAILED for one in found)


def test_trainer_started_first_trains_while_executor_and_generator_are_killed(first_run) -> None:
    _check_run(first_run, "run")


def test_second_run_on_the_same_generator(first_run, rendered) -> None:
    trainer = first_run.trainer_of("run-2")
    kube_pods("up", str(trainer), PROFILES)
    try:
        _wait_until(lambda: first_run.state("run-2").get("status") == "done", "the second run did not finish")
    finally:
        kube_pods("down", str(trainer))
    _check_run(first_run, "run-2")


def _check_run(pods: Pods, name: str) -> None:
    """Check that the run `name` is complete, and that it lost no trajectory."""
    assert pods.state(name)["status"] == "done", pods.state(name)
    run = pods.runs / name
    assert (run / "adapter" / "adapter_model.safetensors").stat().st_size > 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert {line["metrics"]["infrastructure_failures"] for line in lines} == {0}
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert [evaluation[when]["failed"] for when in ("before", "after")] == [0, 0]


def _kill(container: str) -> None:
    """Kill the processes of `container` with SIGKILL, as the kernel does; its restart policy applies."""
    found = subprocess.run(
        ["podman", "inspect", "--format", "{{.State.Pid}}", container], capture_output=True, text=True, check=True
    )
    os.kill(int(found.stdout), signal.SIGKILL)


def _wait_until(condition: Callable[[], bool], failure: str, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, failure
        time.sleep(0.5)
