"""A run waits for generators that are not ready for any reason, and fails at once where waiting does not help."""

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from deepmath_trainer import generator_replicas
from deepmath_trainer.generator_check import check_generator
from deepmath_trainer.generator_replicas import GeneratorReplicas
from deepmath_trainer.wait_progress import WaitProgress
from support.name_server import name_server
from support.secured import ELSEWHERE, Authority

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.exit_codes import EXIT_USAGE
from deepmath.generator.v1 import generator_pb2 as pb

from .conftest import small
from .scripted_generator import ScriptedGenerator

NAME = "generator.test"
BUDGET: dict[str, Any] = {"temperature": 1.0, "mode": pb.MODE_AGENT, "budget": pb.Budget()}
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@pytest.fixture(autouse=True)
def impatience(monkeypatch) -> None:
    monkeypatch.setattr(generator_replicas, "_RETRY_S", 0.05)
    monkeypatch.setattr(generator_replicas, "_INFO_S", 0.5)
    monkeypatch.setattr(generator_replicas, "_RESOLVE_S", 0.05)


@pytest.fixture
def names(monkeypatch) -> dict[str, list[str]]:
    """The addresses of names, which a test changes. A name that is not in it does not resolve."""
    addresses: dict[str, list[str]] = {}
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> list[Any]:
        if host == NAME and host not in addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for one in addresses.get(host, [host]) for found in resolve(one, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return addresses


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def adapter(tmp_path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / ADAPTER[0]).write_text('{"base_model_name_or_path": "tiny-math"}')
    (folder / ADAPTER[1]).write_bytes(b"weights")
    return folder


@asynccontextmanager
async def replicas(
    address: str, patience_s: float = 20, waits: list[str] | None = None
) -> AsyncIterator[GeneratorReplicas]:
    check = partial(check_generator, small(address))
    on_wait = (waits if waits is not None else []).append
    made = GeneratorReplicas([address], "r", patience_s=patience_s, check=check, on_wait=on_wait)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def silent(address: str) -> AsyncIterator[None]:
    """A server that accepts connections and says nothing, neither TLS nor HTTP."""
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        yield


@asynccontextmanager
async def closing(address: str) -> AsyncIterator[None]:
    """A server that closes every connection."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), *address.split(":"))
    async with server:
        yield


@asynccontextmanager
async def nothing(_: str) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("before", "encrypted", "reason"),
    [
        (nothing, False, "Connection refused"),
        (nothing, True, "Connection refused"),
        (silent, False, "cannot be reached"),
        (silent, True, "cannot be reached"),
        (closing, False, "cannot be reached"),
    ],
)
async def test_run_waits_for_a_generator_that_cannot_be_reached(
    free_port, authority, monkeypatch, before, encrypted: bool, reason: str
) -> None:
    address = f"127.0.0.1:{free_port}"
    waits: list[str] = []
    if encrypted:
        monkeypatch.setenv("DEEPMATH_TLS", str(authority.issue("trainer")))
    async with AsyncExitStack() as block, replicas(address, waits=waits) as run:
        async with before(address):
            start = asyncio.create_task(run.start(0))
            async with asyncio.timeout(20):
                while not waits:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert not start.done()
        tls = authority.issue("generator") if encrypted else None
        await block.enter_async_context(ScriptedGenerator().serve(address, tls))
        await start
    assert reason in waits[0]
    assert waits[-1] == ""


@pytest.mark.parametrize(
    ("failures", "reason"),
    [
        ([grpc.StatusCode.UNAVAILABLE] * 9, "loading the model"),
        (["no executor at 127.0.0.1:1"] * 3, "has no executor: no executor at 127.0.0.1:1"),
    ],
)
async def test_run_waits_for_a_generator_that_is_not_ready(failures, reason: str) -> None:
    waits: list[str] = []
    generator = ScriptedGenerator(failures=deque(failures))
    async with generator.serve() as address, replicas(address, waits=waits) as run:
        await run.start(0)
    assert reason in waits[0]
    assert waits[-1] == ""
    assert not generator.failures


async def test_run_waits_for_a_name_that_does_not_resolve(names) -> None:
    waits: list[str] = []
    async with ScriptedGenerator().serve() as address:
        port = address.rpartition(":")[2]
        async with replicas(f"dns:///{NAME}:{port}", waits=waits) as run:
            start = asyncio.create_task(run.start(0))
            while not waits:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            names[NAME] = ["127.0.0.1"]
            await start
    assert waits == [f"the name {NAME} does not resolve: Name or service not known", ""]


async def test_target_may_name_a_dns_server(adapter) -> None:
    one, two = ScriptedGenerator(), ScriptedGenerator()
    async with one.serve() as address, name_server("127.0.0.1", "127.0.0.2") as dns:
        port = int(address.rpartition(":")[2])
        async with two.serve(f"127.0.0.2:{port}"), replicas(dns.target(port)) as run:
            await run.start(0)
            await run.publish(adapter, 1)
    assert (one.policies, two.policies) == ([1], [1])


async def test_wait_ends_when_patience_is_over(free_port) -> None:
    async with replicas(f"127.0.0.1:{free_port}", patience_s=0.2) as run:
        with pytest.raises(Unavailable, match=r"no generator was available for 0 s: .*Connection refused"):
            await run.start(0)


@pytest.mark.parametrize(
    ("generator", "reason"),
    [
        (ScriptedGenerator(model="other"), "serves other, but the run trains tiny-math"),
        (ScriptedGenerator(max_lora_rank=8), "accepts adapters up to rank 8; start it with --max-lora-rank 32"),
        (ScriptedGenerator(failures=deque([grpc.StatusCode.UNAUTHENTICATED])), "rejected the call: loading"),
        (ScriptedGenerator(failures=deque([grpc.StatusCode.PERMISSION_DENIED])), "rejected the call: loading"),
    ],
)
async def test_generator_that_does_not_fit_fails_the_run_at_once(generator: ScriptedGenerator, reason: str) -> None:
    waits: list[str] = []
    async with generator.serve() as address, replicas(address, waits=waits) as run:
        with pytest.raises(InvalidRequest, match=reason):
            await run.start(0)
    assert waits == []


async def test_mismatch_of_tls_fails_the_run_at_once(authority, monkeypatch, names) -> None:
    waits: list[str] = []
    names[NAME] = ["127.0.0.1"]
    monkeypatch.setenv("DEEPMATH_TLS", str(authority.issue("trainer")))
    generator = ScriptedGenerator()
    async with (
        generator.serve(tls=authority.issue("generator", ELSEWHERE)) as address,
        replicas(f"{NAME}:{address.rpartition(':')[2]}", waits=waits) as run,
    ):
        with pytest.raises(InvalidRequest, match=r"certificate was rejected .*Hostname mismatch.*generator\.test"):
            await run.start(0)
    async with ScriptedGenerator().serve() as address, replicas(address, waits=waits) as run:
        with pytest.raises(InvalidRequest, match="the server does not use TLS"):
            await run.start(0)
    assert waits == []


@pytest.mark.parametrize("encrypted", [False, True])
async def test_every_address_of_a_name_is_a_replica(names, authority, monkeypatch, adapter, encrypted: bool) -> None:
    """Also one that appears later. The certificates are valid for the name only."""
    tls = authority.issue("generator", ((NAME,), ())) if encrypted else None
    if encrypted:
        monkeypatch.setenv("DEEPMATH_TLS", str(authority.issue("trainer")))
    one, two, three = (ScriptedGenerator() for _ in range(3))
    prompts = [pb.RolloutPrompt(id="p")]
    async with one.serve(tls=tls) as address:
        port = address.rpartition(":")[2]
        names[NAME] = ["127.0.0.1", "127.0.0.2"]
        async with (
            two.serve(f"127.0.0.2:{port}", tls),
            three.serve(f"127.0.0.3:{port}", tls),
            replicas(f"{NAME}:{port}") as run,
        ):
            await run.start(0)
            await run.publish(adapter, 1)
            assert (one.policies, two.policies, three.policies) == ([1], [1], [])
            names[NAME] = ["127.0.0.3"]
            async with asyncio.timeout(20):
                while not three.sampled_by:
                    assert len(await run.rollout(prompts, **BUDGET)) == 1
            assert (three.policies, three.sampled_by) == ([1], [1])
            del names[NAME]  # a resolver that fails does not take the replicas away
            await asyncio.sleep(0.2)
            assert len(await run.rollout(prompts, **BUDGET)) == 1
            assert three.sampled_by == [1, 1]


async def test_replica_that_is_gone_finishes_its_call(names) -> None:
    class SlowGenerator(ScriptedGenerator):
        async def Rollout(self, request, context):  # noqa: N802
            rolling.set()
            await asyncio.sleep(0.5)
            yield pb.RolloutResponse(id="slow")

    rolling = asyncio.Event()
    async with SlowGenerator().serve() as address:
        names[NAME] = ["127.0.0.1"]
        async with replicas(f"{NAME}:{address.rpartition(':')[2]}") as run:
            await run.start(0)
            rollout = asyncio.create_task(run.rollout([pb.RolloutPrompt()], **BUDGET))
            await rolling.wait()
            names[NAME] = ["127.0.0.9"]
            assert [response.id for response in await rollout] == ["slow"]


def test_wait_is_logged_at_growing_intervals(monkeypatch, caplog) -> None:
    clock = [1000.0]
    waits: list[str] = []
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    wait = WaitProgress(600, waits.append)
    with caplog.at_level(logging.INFO):
        for _ in range(600):
            wait.report(Unavailable("it loads"))
            clock[0] += 1
        wait.end()
    *lines, last = (record.message for record in caplog.records)
    seconds = [int(line.partition("(")[2].split()[0]) for line in lines]
    assert seconds == [0, 5, 15, 35, 75, 135, 195, 255, 315, 375, 435, 495, 555]
    assert lines[1] == "waiting for a generator (5 of 600 s): it loads"
    assert last == "a generator is ready after 600 s"
    assert waits == ["it loads", ""]
    clock[0] = time.time()
    WaitProgress(1, waits.append).end()
    assert len(waits) == 2, "there was no wait"


@pytest.mark.slow
async def test_waiting_run_stops_at_sigterm_and_a_misconfigured_one_has_its_own_exit_status(
    worker, free_port, tmp_path
) -> None:
    address = f"127.0.0.1:{free_port}"
    run = await worker(tmp_path / "run", small(address))
    async with asyncio.timeout(120):
        while run.folder.read_state().status != "waiting":
            assert run.process.returncode is None, run.folder.worker_log.read_text()
            await asyncio.sleep(0.05)
    assert f"the generator at {address} cannot be reached" in run.folder.read_state().waiting_for
    run.process.terminate()
    assert await run.ended() == "stopped"
    state = run.folder.read_state()
    assert (run.process.returncode, state.waiting_for, state.misconfigured) == (0, "", False)
    async with ScriptedGenerator(model="other").serve(address):
        run = await worker(tmp_path / "run", small(address))
        assert await run.ended() == "failed"
    state = run.folder.read_state()
    assert (run.process.returncode, state.misconfigured) == (EXIT_USAGE, True)
    assert "serves other, but the run trains tiny-math" in state.error
    assert "Traceback" not in run.folder.worker_log.read_text()


def test_generator_with_another_dialect_is_rejected() -> None:
    config, info = small("localhost:1", "dialect=python-fence"), pb.GetInfoResponse(model="tiny-math", max_lora_rank=64)
    with pytest.raises(InvalidRequest, match="start it with --dialect python-fence"):
        check_generator(config, "localhost:1", info)
    info.dialect = "python-fence"
    check_generator(config, "localhost:1", info)
