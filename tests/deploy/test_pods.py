"""The overlay cpu-demo with tokens as real pods, which solve and train together over mutual TLS.

DEEPMATH_KUBE_PODS names a command that runs manifests as pods with podman (`load IMAGE...`, `up FILE SECCOMP_FOLDER`,
`down FILE`). Without it these tests are skipped. The images come from `make images`.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Pods:
    """Running pods, and the credentials of their clients."""

    folder: Path
    converted: PodmanPods

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
    """Ready executors and generator; the trainer's pod starts in its own test."""
    folder = tmp_path_factory.mktemp("pods")
    folder.chmod(0o755)
    converted = podman_pods(rendered, Machine(folder))
    _make_secrets(folder, converted)
    everything = converted.write(folder)
    images = {container["image"] for pod in _pods(converted) for container in pod["spec"]["containers"]}
    kube_pods("load", *(image.removeprefix("localhost/") for image in images))
    serving = _part(everything, lambda name: not name.startswith("trainer"))
    try:
        kube_pods("up", str(serving), str(ROOT / "deploy" / "seccomp"))
        made = Pods(folder, converted)
        asyncio.run(_ready(made))
        yield made
    finally:
        kube_pods("down", str(serving))


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


async def test_killing_an_executor_in_mid_trajectory_loses_no_trajectory(pods) -> None:
    rolling = asyncio.create_task(_rollout(pods, 96))
    await asyncio.sleep(1.5)
    assert not rolling.done()
    await asyncio.to_thread(subprocess.run, ["podman", "kill", "executor-0-executor"], check=True, capture_output=True)
    found = await rolling
    assert len(found) == 96
    assert all(one.status != pb.STATUS_INFRASTRUCTURE_FAILED for one in found)


def test_trainer_finishes_its_run(pods) -> None:
    trainer = _part(pods.folder / "pods.yaml", lambda name: name.startswith("trainer"))
    kube_pods("up", str(trainer), str(ROOT / "deploy" / "seccomp"))
    try:
        run = pods.folder / "volumes" / "runs" / "run"
        until = time.monotonic() + 600
        while not (run / "adapter" / "adapter_config.json").exists():
            assert time.monotonic() < until, "the run did not finish"
            time.sleep(2)
        steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert steps == list(range(1, 11))
    finally:
        kube_pods("down", str(trainer))
