"""Clients of a name that gains and loses addresses under load. `benchmarks/fleet_changes.py` uses the default times."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from support.name_server import NAME, NameServer, name_server
from support.ports import free_ports
from support.secured import Authority, Served, serving
from support.session_load import session_load

from deepmath.clients import ExecutorClient, renewed_channel
from deepmath.errors import Unavailable

FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
RESOLVE_S = 0.2


@asynccontextmanager
async def executor(folder: Path, address: str, port: int, *options: str | Path) -> AsyncIterator[Served]:
    (folder / address).mkdir(exist_ok=True)
    async with serving("executor", folder / address, *options, listen=f"{address}:{port}") as served:
        yield served


@pytest.fixture(scope="module")
async def port(tmp_path_factory) -> AsyncIterator[int]:
    """The port on which executors listen at FIRST and SECOND."""
    folder, (port,) = tmp_path_factory.mktemp("executors"), free_ports(1)
    async with executor(folder, FIRST, port), executor(folder, SECOND, port):
        yield port


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with name_server(FIRST) as names:
        yield names


@pytest.fixture
async def client(port, names) -> AsyncIterator[ExecutorClient]:
    async with ExecutorClient(names.target(port), patience_s=20, resolve_s=RESOLVE_S) as client:
        yield client


async def live_sessions(address: str, port: int) -> int:
    async with ExecutorClient(f"{address}:{port}") as client:
        return (await client.get_info()).load.live_sessions


async def until(holds: Callable[[], Awaitable[bool]]) -> float:
    """Return the seconds until `holds()`."""
    started = time.monotonic()
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return time.monotonic() - started


async def until_sessions_reach(client: ExecutorClient, address: str, port: int) -> None:
    async def reached() -> bool:
        async with client.session() as session:
            await session.run("1")
            return await live_sessions(address, port) > 0

    await until(reached)


async def test_new_executor_is_busy_soon_and_a_killed_one_loses_no_session(tmp_path, port, names, client):
    async with executor(tmp_path, THIRD, port) as third, session_load(client, 4, pause_s=0.05) as load:
        names.addresses = [FIRST, THIRD]
        seconds = await until(lambda: busy(THIRD, port))
        print(f"the new executor was busy after {seconds:.1f} s")
        names.addresses = [FIRST, SECOND]
        await until(lambda: busy(SECOND, port))
        names.addresses = [SECOND, THIRD]
        await until(lambda: busy(THIRD, port))
        third.process.kill()
        finished = load.finished
        async with asyncio.timeout(20):
            while load.finished < finished + 12:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert load.lost == []
    assert load.moved > 0


async def test_new_address_is_connected_before_its_turn(port, names, client, monkeypatch):
    await until(lambda: has_moved(client, FIRST))
    names.addresses = [FIRST, SECOND]
    await asyncio.sleep(3 * RESOLVE_S)
    monkeypatch.setattr(renewed_channel, "randrange", lambda addresses: addresses - 1)  # FIRST comes next
    await client.get_info()
    await until(lambda: connected(client, SECOND))


async def connected(client: ExecutorClient, address: str) -> bool:
    connection = client._renewed._connections[f"{address}:{client.target.rpartition(':')[2]}"]
    return connection.channel.get_state() is grpc.ChannelConnectivity.READY


async def busy(address: str, port: int) -> bool:
    return await live_sessions(address, port) > 0


async def test_session_on_a_removed_address_goes_on_there_and_its_connection_ends_with_it(port, names, client):
    async with client.session() as session:
        await session.run("x = 1")
        names.addresses = [SECOND]
        await until_sessions_reach(client, SECOND, port)
        assert await live_sessions(FIRST, port) == 1
        assert (await session.run("x")).value == "1"
        assert session.losses == 0
    await until(lambda: not_connected(FIRST, port))
    async with client.session() as later:
        await later.run("1")
        assert await live_sessions(FIRST, port) == 0


async def not_connected(address: str, port: int) -> bool:
    return not any(
        connection.raddr[:2] == (address, port) and connection.status == psutil.CONN_ESTABLISHED
        for connection in psutil.Process().net_connections("tcp")
    )


async def test_addresses_are_kept_while_the_name_does_not_resolve(port, names, client, caplog):
    names.addresses = [FIRST, SECOND]
    await until_sessions_reach(client, SECOND, port)
    for names.failing, names.addresses in ((True, [FIRST]), (False, [])):
        await asyncio.sleep(3 * RESOLVE_S)
        await until_sessions_reach(client, FIRST, port)
        await until_sessions_reach(client, SECOND, port)
    warnings = [record for record in caplog.records if "keeping its last 2 addresses" in record.getMessage()]
    assert len(warnings) == 1  # not one for every attempt


async def test_name_may_have_no_address_at_first(port, names):
    names.addresses = []
    async with (
        ExecutorClient(names.target(port), patience_s=20, resolve_s=RESOLVE_S) as client,
        client.session() as first,
    ):
        waiting = asyncio.create_task(first.run("6 * 7"))
        await asyncio.sleep(1)
        assert not waiting.done()
        names.addresses = [SECOND]
        assert (await waiting).value == "42"


async def test_executor_replaced_at_the_same_address_is_found_again(tmp_path, port, names):
    names.addresses = [THIRD]
    async with (
        ExecutorClient(names.target(port), patience_s=20, resolve_s=RESOLVE_S) as client,
        executor(tmp_path, THIRD, port) as before,
        client.session() as session,
    ):
        await session.run("x = 1")
        before.process.kill()
        await before.process.wait()
        with pytest.raises(Unavailable):
            await client.get_info(deadline_s=0.5)
        async with executor(tmp_path, THIRD, port):
            assert (await session.run("x")).value == "1"


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
async def test_addresses_of_both_versions_are_used(tmp_path, port, names, client):
    (tmp_path / "six").mkdir()
    async with serving("executor", tmp_path / "six", listen=f"[::1]:{port}"):
        names.addresses = [FIRST, "::1"]
        await until_sessions_reach(client, "[::1]", port)
        await until_sessions_reach(client, FIRST, port)


async def test_certificates_are_valid_for_the_name_and_not_for_its_addresses(tmp_path):
    authority, (port,) = Authority(tmp_path / "authority"), free_ports(1)
    tls = authority.issue("executor", ((NAME,), ()))
    async with AsyncExitStack() as block:
        for address in (FIRST, SECOND):
            await block.enter_async_context(executor(tmp_path, address, port, "--tls", tls))
        names = await block.enter_async_context(name_server(FIRST))
        client = ExecutorClient(names.target(port), tls=tls, resolve_s=RESOLVE_S, patience_s=20)
        by_address = ExecutorClient(f"{SECOND}:{port}", tls=tls, patience_s=1)
        await block.enter_async_context(client)
        await block.enter_async_context(by_address)
        await client.execute("1")
        names.addresses = [SECOND]
        await until(lambda: has_moved(client, SECOND))
        assert (await client.execute("6 * 7")).value == "42"
        with pytest.raises(Unavailable, match="not valid for"):
            await by_address.execute("1")


async def has_moved(client: ExecutorClient, address: str) -> bool:
    await client.get_info()
    return set(client._renewed._connections) == {f"{address}:{client.target.rpartition(':')[2]}"}


async def test_closed_and_forgotten_clients_stop_resolving(port, names):
    closed = ExecutorClient(names.target(port), resolve_s=RESOLVE_S)
    forgotten = ExecutorClient(names.target(port), resolve_s=RESOLVE_S)
    await asyncio.gather(closed.get_info(), forgotten.get_info())
    assert len(resolving()) >= 2
    await closed.close()
    del forgotten
    gc.collect()

    async def none_left() -> bool:
        return not resolving()

    await until(none_left)


def resolving() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"addresses of {NAME}"]
