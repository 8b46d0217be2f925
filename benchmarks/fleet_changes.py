"""Sessions lost, and seconds until new executors are busy, while an executor name gains and loses addresses under load.

`python -m benchmarks.fleet_changes` starts executors on one port of 127.0.0.2, 127.0.0.3, ... and a DNS server on
loopback. A client with default settings keeps sessions open on the name, whose addresses change: one more executor, all
replaced, none, a failing DNS server, one executor killed. Results: benchmarks/results/fleet_changes.json.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from deepmath.clients import ExecutorClient
from deepmath.local_stack.local_services import LocalServices
from tests.support.name_server import NameServer, name_server
from tests.support.ports import free_ports
from tests.support.session_load import SessionLoad, session_load

RESULTS = Path(__file__).parent / "results" / "fleet_changes.json"
EXECUTORS = 4


class ExecutorFleet:
    """Executors on one port of different loopback addresses."""

    def __init__(self, services: LocalServices, port: int) -> None:
        self._services, self.port = services, port
        self._probes: dict[str, ExecutorClient] = {}

    async def start(self, count: int) -> None:
        for number in range(count):
            address = f"127.0.0.{number + 2}"
            listen = f"{address}:{self.port}"
            options = ["--preload=none", "--waiting-sandboxes=2"]
            self._probes[address] = ExecutorClient(await self._services.start("executor", *options, listen=listen))

    async def live_sessions(self, address: str) -> int:
        return (await self._probes[address].get_info()).load.live_sessions

    async def seconds_until(self, address: str, holds: Callable[[int], bool], patience_s: float) -> float | None:
        """Return the time until `holds(number of open sessions)` of an executor; None if it exceeds `patience_s`."""
        started = time.monotonic()
        while not holds(await self.live_sessions(address)):
            if time.monotonic() - started > patience_s:
                return None
            await asyncio.sleep(0.05)
        return round(time.monotonic() - started, 1)

    def kill(self, address: str) -> None:
        self._services.processes[list(self._probes).index(address)].send_signal(signal.SIGKILL)

    async def close(self) -> None:
        for probe in self._probes.values():
            await probe.close()


@asynccontextmanager
async def fleet() -> AsyncIterator[ExecutorFleet]:
    async with LocalServices() as services:
        started = ExecutorFleet(services, free_ports(1)[0])
        try:
            await started.start(EXECUTORS)
            yield started
        finally:
            await started.close()


async def main(sessions: int, patience_s: float) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        executors = await stack.enter_async_context(fleet())
        names = await stack.enter_async_context(name_server("127.0.0.2"))
        client = await stack.enter_async_context(ExecutorClient(names.target(executors.port)))
        load = await stack.enter_async_context(session_load(client, sessions))
        figures = await change(executors, names, load, patience_s)
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    return figures | {"finished": load.finished, "moved": load.moved, "lost": len(load.lost), "machine": machine}


async def change(executors: ExecutorFleet, names: NameServer, load: SessionLoad, patience_s: float) -> dict[str, Any]:
    """Change the addresses in turn, and return the seconds that each change took to be noticed."""
    seconds: dict[str, float | None] = {}

    async def note(name: str, address: str, holds: Callable[[int], bool]) -> None:
        seconds[name] = await executors.seconds_until(address, holds, patience_s)
        print(f"{name}: {seconds[name]} s, lost sessions: {len(load.lost)}", load.lost[:1], file=sys.stderr, flush=True)

    await note("first executor busy", "127.0.0.2", bool)
    await asyncio.sleep(3)
    names.addresses = ["127.0.0.2", "127.0.0.3"]
    await note("added executor busy", "127.0.0.3", bool)
    names.addresses = ["127.0.0.4"]
    await note("replacement of all busy", "127.0.0.4", bool)
    await note("removed executor idle", "127.0.0.2", lambda live: not live)
    names.failing = True
    await asyncio.sleep(15)
    names.failing, names.addresses = False, []
    await asyncio.sleep(15)
    names.addresses = ["127.0.0.4", "127.0.0.5"]
    await note("added after an outage of the DNS server busy", "127.0.0.5", bool)
    executors.kill("127.0.0.4")
    await asyncio.sleep(5)
    return {"seconds": seconds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=8, help="concurrent sessions")
    parser.add_argument("--patience", type=float, default=700.0, help="seconds to wait for each change")
    arguments = parser.parse_args()
    measured = asyncio.run(main(arguments.sessions, arguments.patience))
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))
