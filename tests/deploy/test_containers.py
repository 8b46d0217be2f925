"""A generator on this machine, and executors in containers with the manifest's security context, over mutual TLS."""

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
_PROMPTS = 64


@dataclass
class Executors:
    """Containers, each under an address that it keeps when it is started anew."""

    image: str
    tls: Path
    running: dict[str, str] = field(default_factory=dict)

    def start(self, address: str) -> None:
        run = run_hardened(self.image, "--detach", f"--volume={self.tls}:/etc/deepmath/tls:ro")
        serve = (f"--listen={address}", "--health-listen=", "--tls=/etc/deepmath/tls", "--require=pod")
        serve += (f"--drain-seconds={_DRAIN_SECONDS}", "--waiting-sandboxes=2")
        started = docker(*run, *serve)
        assert started.returncode == 0, started.stderr
        self.running[address] = started.stdout.strip()
        until = time.monotonic() + _READY_SECONDS
        while f"serving on {address}" not in self.said(address):
            assert time.monotonic() < until, self.said(address)
            time.sleep(0.2)

    def said(self, address: str) -> str:
        logs = docker("logs", self.running[address])
        return logs.stdout + logs.stderr

    def served(self, address: str) -> int:
        """Return how many snippets it has run."""
        return sum(line.startswith('{"time"') for line in self.said(address).splitlines())

    def stop(self, address: str) -> int:
        """End a container as a cluster does, and return its exit status."""
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
    for path in (tls, *tls.iterdir()):  # the container's user reads them
        path.chmod(0o755 if path.is_dir() else 0o644)
    made = Executors(image, tls)
    try:
        yield made
    finally:
        for address in list(made.running):
            made.kill(address)


@pytest.fixture(scope="module")
def addresses() -> list[str]:
    """Three that nobody listens on."""
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


@pytest.fixture(scope="module")
async def both(executors, authority, addresses) -> AsyncIterator[ExecutorClient]:
    """With all three addresses, of which two serve and have done so."""
    for address in addresses[:2]:
        await asyncio.to_thread(executors.start, address)
    async with ExecutorClient(",".join(addresses), tls=authority.issue("generator")) as executor:
        async with asyncio.timeout(_READY_SECONDS):
            while not all(map(executors.served, addresses[:2])):
                await executor.execute("1 + 1")
        yield executor


@pytest.fixture(scope="module")
async def served_before(executors, both, addresses) -> dict[str, int]:
    return {address: executors.served(address) for address in addresses[:2]}


@pytest.fixture(scope="module")
async def client(serve_generator, both, served_before) -> AsyncIterator[GeneratorClient]:
    async with serve_generator(executor=both) as served, GeneratorClient(served.address) as client:
        yield client


async def rollout(client: GeneratorClient, count: int = _PROMPTS) -> dict[str, pb.Trajectory]:
    problems = enumerate(generate(count, "test", 0))
    prompts = [pb.RolloutPrompt(id=str(at), question=problem.problem, seed=at) for at, problem in problems]
    return {response.id: response.trajectory async for response in client.rollout(prompts)}


@pytest.fixture(scope="module")
async def undisturbed(client) -> dict[str, pb.Trajectory]:
    return await rollout(client)


async def test_generator_on_the_host_solves_through_both_containers(executors, served_before, undisturbed) -> None:
    answered = [one for one in undisturbed.values() if one.status == pb.STATUS_ANSWERED]
    ran = [snippet for one in answered for snippet in one.snippets]
    assert len(answered) > _PROMPTS / 2
    assert len(ran) > _PROMPTS / 2
    assert all(executors.served(address) > before for address, before in served_before.items())


async def test_container_lets_nobody_in_without_a_certificate(executors, addresses, undisturbed) -> None:
    async with ExecutorClient(addresses[0], patience_s=2) as stranger:
        with pytest.raises(Unavailable):
            await stranger.execute("1 + 1")


async def test_container_killed_in_mid_trajectory_changes_no_trajectory(
    client, executors, addresses, undisturbed
) -> None:
    before = executors.served(addresses[0])
    rolling = asyncio.create_task(rollout(client))
    while await asyncio.to_thread(executors.served, addresses[0]) < before + 4:
        assert not rolling.done()
    await asyncio.to_thread(executors.kill, addresses[0])
    assert not rolling.done()
    found = await rolling
    assert {at: one.answer for at, one in found.items()} == {at: one.answer for at, one in undisturbed.items()}
    assert {at: one.status for at, one in found.items()} == {at: one.status for at, one in undisturbed.items()}
    assert any("executor lost" in note for one in found.values() for note in one.notes)


async def test_rolling_restart_under_load_fails_no_trajectory(client, executors, addresses, undisturbed) -> None:
    """As a Deployment does it: a new one is ready before an old one is told to end."""
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
