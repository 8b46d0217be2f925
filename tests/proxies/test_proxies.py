"""Sessions, rollouts and calls through proxies with the configurations of examples/proxies."""

import asyncio
import os
import re
import signal

import grpc
import pytest
from support.proxies import EXECUTORS, Kind, proxy
from support.session_load import session_load

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as executor_pb
from deepmath.generator.v1 import generator_pb2 as pb

from .conftest import Stack, WaitingEngine, until

FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
ADDED: dict[Kind, str] = {"envoy": "127.0.0.5", "haproxy": "127.0.0.6"}  # HAProxy keeps a removed one for a while
ALONE = "alone.deepmath.svc"
# Envoy's default route timeout is 15 s. With DEEPMATH_PROXY_SILENCE=330, sessions and rollouts are silent for longer
# than its five minutes for streams.
LONG_S = 16
SILENT_S = float(os.environ.get("DEEPMATH_PROXY_SILENCE", LONG_S))
KINDS: tuple[Kind, ...] = ("envoy", "haproxy")


def prompts(count: int) -> list[pb.RolloutPrompt]:
    return [pb.RolloutPrompt(id=str(number), question="6 * 7?") for number in range(count)]


async def test_sessions_of_one_connection_are_spread_over_the_executors(stack, kind):
    async with stack.executors(kind) as client, session_load(client, 8, pause_s=0.05) as load:
        await until(lambda: load.finished >= 30)
        live = [await stack.live_sessions(address) for address in (FIRST, SECOND)]
    assert (load.lost, load.moved) == ([], 0)
    assert all(live)


async def test_rollouts_pass(stack, kind):
    async with stack.generators(kind) as client:
        assert [response.trajectory.answer async for response in client.rollout(prompts(8))] == ["42"] * 8


async def test_more_streams_pass_than_haproxy_permits_by_default(plaintext, kind):
    plaintext.engine.released.clear()
    try:
        async with plaintext.generators(kind) as client:
            rollouts = [asyncio.create_task(answers(client)) for _ in range(150)]
            await until(lambda: plaintext.engine.waiting == len(rollouts))
            plaintext.engine.released.set()
            assert await asyncio.gather(*rollouts) == [["42"]] * len(rollouts)
    finally:
        plaintext.engine.released.set()


async def answers(client: GeneratorClient) -> list[str]:
    return [response.trajectory.answer async for response in client.rollout(prompts(1))]


@pytest.mark.slow
@pytest.mark.timeout(SILENT_S + 120)
async def test_calls_may_be_silent_for_longer_than_the_proxies_defaults(plaintext, secured, tmp_path):
    """Each in every stack and proxy at once. Without the documented timeouts they fail."""
    usual_envoy = proxy("envoy", tmp_path, plaintext.upstream, change=without_route_timeout)
    usual_haproxy = proxy("haproxy", tmp_path, plaintext.upstream, change=with_usual_timeouts)
    async with usual_envoy as envoy, usual_haproxy as haproxy:
        usual = [ExecutorClient(one.executor) for one in (envoy, haproxy)]
        calls = [stays_connected(stack, kind) for stack in (plaintext, secured) for kind in KINDS]
        engines = [stack.engine for stack in (plaintext, secured)]
        waiting, *_ = await asyncio.gather(silence(engines), *calls, *(fails(client) for client in usual))
        await asyncio.gather(*(client.close() for client in usual))
    assert waiting == [len(KINDS)] * len(engines)


async def silence(engines: list[WaitingEngine]) -> list[int]:
    """Hold the rollouts for SILENT_S, and return the number that waited in each of `engines`."""
    for engine in engines:
        engine.released.clear()
    try:
        await asyncio.sleep(SILENT_S)
        return [engine.waiting for engine in engines]
    finally:
        for engine in engines:
            engine.released.set()


async def stays_connected(stack: Stack, kind: Kind) -> None:
    """Check that a unary call outlives LONG_S, and an idle session and a silent rollout SILENT_S."""
    async with stack.executors(kind) as executors, stack.generators(kind) as generators, executors.session() as session:
        await session.run("x = 1")
        rollout = asyncio.create_task(answers(generators))
        assert (await long_call(executors)).result.value == "'late'"
        assert await rollout == ["42"]
        assert (await session.run("x")).value == "1"
        assert session.losses == 0


async def long_call(client: ExecutorClient) -> executor_pb.ExecuteResponse:
    code = f"import time\ntime.sleep({LONG_S})\n'late'"
    limits = executor_pb.Limits(wall_ms=60_000)
    return await client.stub.Execute(executor_pb.ExecuteRequest(code=code, limits=limits), timeout=60)


async def fails(client: ExecutorClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await long_call(client)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


def without_route_timeout(config: str) -> str:
    return re.sub(r"(?m)^ +timeout: 0s\n", "", config)


def with_usual_timeouts(config: str) -> str:
    return re.sub(r"timeout (client|server) +4h", r"timeout \1 5s", config)


async def test_fleet_behind_a_proxy_grows_and_loses_an_executor_without_losing_a_session(secured, kind):
    stack = secured
    addresses = stack.names.records[EXECUTORS]
    try:
        async with (
            stack.executor(ADDED[kind]) as added,
            stack.executors(kind, patience_s=30) as client,
            session_load(client, 6, snippets=20, pause_s=0.05) as load,
        ):
            stack.names.records[EXECUTORS] = [*addresses, ADDED[kind]]
            seconds = await until(lambda: stack.live_sessions(ADDED[kind]))
            print(f"{kind}: the new executor was busy after {seconds:.1f} s")
            added.process.kill()
            finished = load.finished
            await until(lambda: load.finished > finished + 20)
    finally:
        stack.names.records[EXECUTORS] = addresses
    assert load.lost == []
    assert load.moved > 0


async def test_stream_whose_server_dies_behind_a_proxy_is_unavailable(plaintext, kind, tmp_path):
    """Proxies reset such a stream; a rollout is then repeated, and not taken for a fault of the generator."""
    plaintext.names.records[ALONE] = [THIRD]
    async with (
        plaintext.executor(THIRD) as served,
        proxy(kind, tmp_path, plaintext.upstream, change=lambda config: config.replace(EXECUTORS, ALONE)) as running,
        ExecutorClient(running.executor) as client,
    ):
        await client.get_info(deadline_s=20)
        call = client.stub.Session()
        await call.write(executor_pb.SessionRequest(open=executor_pb.OpenSession()))
        await call.read()
        served.process.kill()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()
        assert isinstance(await client.translate(failed.value), Unavailable)


async def test_sessions_survive_the_loss_of_their_proxy(plaintext, kind, tmp_path):
    async with proxy(kind, tmp_path, plaintext.upstream) as first:
        ports = [int(address.rpartition(":")[2]) for address in (first.executor, first.generator)]
        async with ExecutorClient(first.executor) as client, client.session() as session:
            await session.run("x = 1")
            first.process.kill()
            await first.process.wait()
            async with proxy(kind, tmp_path, plaintext.upstream, [*ports, first.admin_port]):
                assert (await session.run("x")).value == "1"
            assert session.losses == 1


async def test_draining_proxy_finishes_sessions_and_accepts_no_connection(plaintext, kind, tmp_path):
    async with proxy(kind, tmp_path, plaintext.upstream) as draining, ExecutorClient(draining.executor) as client:
        async with client.session() as session:
            await session.run("x = 1")
            await drain(kind, draining.process, draining.admin_port)
            await until(lambda: refuses_connections(draining.executor))
            assert (await session.run("x")).value == "1"
            assert session.losses == 0
        if kind == "haproxy":  # Envoy is then ended by SIGTERM
            assert await asyncio.wait_for(draining.process.wait(), 20) == 0


async def drain(kind: Kind, process: asyncio.subprocess.Process, admin_port: int) -> None:
    if kind == "haproxy":
        process.send_signal(signal.SIGUSR1)
        return
    reader, writer = await asyncio.open_connection("127.0.0.1", admin_port)
    writer.write(b"POST /drain_listeners HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()


async def refuses_connections(address: str) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    except OSError:
        return True
    writer.close()
    return False
