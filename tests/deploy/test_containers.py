"""A generator on this machine with executors in containers, under the manifest's security context, over mutual TLS."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.docker_engine import docker, docker_engine, image, run_hardened  # noqa: F401  (fixtures)
from support.ports import free_ports
from support.secured import Authority

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.data.synthetic import generate
from deepmath.errors import Unavailable
from deepmath.generator.v1 import generator_pb2 as pb

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_READY_SECONDS = 60
_DRAIN_SECONDS = 40
_PROMPTS = 128  # enough that some hold a session whenever a container dies


@dataclass
class Executors:
    """Executor containers by address; a restarted container keeps its address."""

    image: str
    tls: Path
    running: dict[str, str] = field(default_factory=dict)

    def start(self, address: str) -> None:
        run = run_hardened(self.image, "--detach", f"--volume={self.tls}:/etc/deepmath/tls:ro")
        serve: tuple[str, ...] = (f"--listen={address}", "--health-listen=", "--tls=/etc/deepmath/tls", "--require=pod")
        serve += (f"--drain-seconds={_DRAIN_SECONDS}", "--waiting-sandboxes=2")
        started = docker(*run, *serve)
        assert started.returncode == 0, started.stderr
        self.running[address] = started.stdout.strip()
        deadline = time.monotonic() + _READY_SECONDS
        while f"serving on {address}" not in self.logs(address):
            assert time.monotonic() < deadline, self.logs(address)
            time.sleep(0.2)

    def logs(self, address: str) -> str:
        logs = docker("logs", self.running[address])
        return logs.stdout + logs.stderr

    def snippets_run(self, address: str) -> int:
        """Return the number of snippets in its audit log."""
        return sum(line.startswith('{"time"') for line in self.logs(address).splitlines())

    def stop(self, address: str) -> int:
        """Stop a container as a cluster does, and return its exit status."""
        container = self.running.pop(address)
        docker("stop", f"--time={_DRAIN_SECONDS + 20}", container)
        status = json.loads(docker("inspect", container).stdout)[0]["State"]["ExitCode"]
        docker("rm", container)
        return status

    def kill(self, address: str) -> None:
        docker("rm", "--force", self.running.pop(address))


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def executors(image, authority) -> Iterator[Executors]:  # noqa: F811
    tls = authority.issue("executor")
    for path in (tls, *tls.iterdir()):  # readable for the container's user
        path.chmod(0o755 if path.is_dir() else 0o644)
    executors = Executors(image, tls)
    try:
        yield executors
    finally:
        for address in list(executors.running):
            executors.kill(address)


@pytest.fixture(scope="module")
def addresses() -> list[str]:
    """Three free addresses."""
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


@pytest.fixture(scope="module")
async def executor_client(executors, authority, addresses) -> AsyncIterator[ExecutorClient]:
    """A client of all three addresses, of which two are served and have run snippets."""
    for address in addresses[:2]:
        await asyncio.to_thread(executors.start, address)
    async with ExecutorClient(",".join(addresses), tls=authority.issue("generator")) as executor:
        async with asyncio.timeout(_READY_SECONDS):
            while not all(map(executors.snippets_run, addresses[:2])):
                await executor.execute("1 + 1")
        yield executor


@pytest.fixture(scope="module")
async def snippets_before(executors, executor_client, addresses) -> dict[str, int]:
    return {address: executors.snippets_run(address) for address in addresses[:2]}


@pytest.fixture(scope="module")
async def client(serve_generator, executor_client, snippets_before) -> AsyncIterator[GeneratorClient]:
    async with serve_generator(executor=executor_client) as served, GeneratorClient(served.address) as client:
        yield client


async def rollout(client: GeneratorClient, count: int = _PROMPTS) -> dict[str, pb.Trajectory]:
    problems = enumerate(generate(count, "test", 0))
    prompts = [pb.RolloutPrompt(id=str(at), question=problem.problem, seed=at) for at, problem in problems]
    return {response.id: response.trajectory async for response in client.rollout(prompts)}


@pytest.fixture(scope="module")
async def undisturbed(client) -> dict[str, pb.Trajectory]:
    return await rollout(client)


async def test_generator_on_the_host_solves_through_both_containers(executors, snippets_before, undisturbed) -> None:
    answered = [one for one in undisturbed.values() if one.status == pb.STATUS_ANSWERED]
    snippets = [snippet for one in answered for snippet in one.snippets]
    assert len(answered) > _PROMPTS / 2
    assert len(snippets) > _PROMPTS / 2
    assert all(executors.snippets_run(address) > before for address, before in snippets_before.items())


async def test_container_rejects_a_client_without_a_certificate(executors, addresses, undisturbed) -> None:
    async with ExecutorClient(addresses[0], patience_s=2) as stranger:
        with pytest.raises(Unavailable):
            await stranger.execute("1 + 1")


async def test_killing_a_container_in_mid_trajectory_changes_no_trajectory(
    client, executors, addresses, undisturbed
) -> None:
    before = executors.snippets_run(addresses[0])
    rolling = asyncio.create_task(rollout(client))
    while await asyncio.to_thread(executors.snippets_run, addresses[0]) < before + 4:
        assert not rolling.done()
    await asyncio.to_thread(executors.kill, addresses[0])
    assert not rolling.done()
    found = await rolling
    assert {at: one.answer for at, one in found.items()} == {at: one.answer for at, one in undisturbed.items()}
    assert {at: one.status for at, one in found.items()} == {at: one.status for at, one in undisturbed.items()}
    assert any("executor lost" in note for one in found.values() for note in one.notes)


async def test_rolling_restart_under_load_fails_no_trajectory(client, executors, addresses, undisturbed) -> None:
    """In the order of a Deployment: a new executor is ready before an old one is terminated."""
    for address in set(addresses[:2]) - set(executors.running):
        await asyncio.to_thread(executors.start, address)
    found: list[pb.Trajectory] = []
    restarted = asyncio.Event()

    async def load() -> None:
        while not restarted.is_set():
            found.extend((await rollout(client, 16)).values())

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(load())
        new = addresses[2]
        for old in addresses[:2]:
            await asyncio.to_thread(executors.start, new)
            assert await asyncio.to_thread(executors.stop, old) == 0
            new = old
        restarted.set()
    assert len(found) >= 64
    assert [one.notes for one in found if one.status == pb.STATUS_INFRASTRUCTURE_FAILED] == []
