"""Fresh runs per second of SandboxFusion's protocol: the gateway beside SandboxFusion itself.

`python -m benchmarks.sandbox_fusion --sandbox-fusion CHECKOUT` measures, in one run and with the same client, programs
that are each a fresh run of `POST /run_code`, with one client and with eight:

    gateway         this gateway over an executor, in a process each
    sandbox_fusion  github.com/bytedance/SandboxFusion, as `make run` starts it: without isolation
    grpc            the same programs by gRPC from the executor: what the gateway costs

and the processor time of a run, in all processes of the servers. `plain` is a program without imports; `sympy` is one
with sympy, which the executor has loaded before.

The contenders take turns for several rounds, and each figure is the median over the rounds. Results:
benchmarks/results/sandbox_fusion.json.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.json_connection import JsonConnection
from benchmarks.sandbox_fusion_server import sandbox_fusion_server
from deepmath.clients import ExecutorClient
from deepmath.local_stack.stack import LocalStack

RESULTS = Path(__file__).parent / "results" / "sandbox_fusion.json"
PROGRAMS = {
    "plain": "print(sum(map(int, input().split())))",
    "sympy": "import sympy\nprint(sympy.Integer(sum(map(int, input().split()))))",
}
STDIN, ANSWER = "20 22\n", "42\n"
CLIENTS = (1, 8)
SECONDS = 5.0  # of a measurement
Run = Callable[[str], Awaitable[None]]
Figures = dict[str, float]


async def main(checkout: Path, rounds: int) -> dict[str, Any]:
    """Return the figures of every contender by name, and their ratios."""
    collected: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with AsyncExitStack() as block:
        stack = await block.enter_async_context(LocalStack(listen={"gateway": "127.0.0.1:0"}))
        ours = psutil.Process().children()
        addresses = {
            "gateway": stack.gateway,
            "sandbox_fusion": await block.enter_async_context(sandbox_fusion_server(checkout)),
        }
        theirs = [process for process in psutil.Process().children() if process not in ours]
        servers = {"gateway": ours, "sandbox_fusion": theirs, "grpc": ours}
        executor = await block.enter_async_context(ExecutorClient(stack.executor))
        for number in range(rounds):
            for name in (*addresses, "grpc"):
                for program, code in PROGRAMS.items():
                    for clients in CLIENTS:
                        connect = (lambda address=addresses[name]: http_run(address)) if name in addresses else None
                        figures = await measure(code, clients, connect or (lambda: grpc_run(executor)), servers[name])
                        print(number, name, program, clients, figures, file=sys.stderr, flush=True)
                        for key, value in figures.items():
                            collected[name][f"{program}_{key}_{clients}"].append(value)
    medians = {
        name: {key: round(statistics.median(values), 2) for key, values in figures.items()}
        for name, figures in collected.items()
    }
    return medians | {
        "ratios": ratios(medians),
        "rounds": rounds,
        "seconds": SECONDS,
        "programs": PROGRAMS,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def ratios(medians: dict[str, Figures]) -> Figures:
    """Return the gateway's runs per second relative to SandboxFusion's, and to those by gRPC."""
    rates = {key: value for key, value in medians["gateway"].items() if "per_s" in key}
    return {
        f"{key}_vs_{other}": round(value / medians[other][key], 2)
        for other in ("sandbox_fusion", "grpc")
        for key, value in rates.items()
    }


async def measure(
    code: str, clients: int, connect: Callable[[], Awaitable[Run]], servers: Sequence[psutil.Process]
) -> Figures:
    """Return figures of concurrent clients that each run `code` again and again: rate, latency, processor time."""
    runs = [await connect() for _ in range(clients)]
    times: list[float] = []
    await asyncio.gather(*(run(code) for run in runs))
    start, used = time.perf_counter(), cpu_seconds(servers)

    async def client(run: Run) -> None:
        while time.perf_counter() - start < SECONDS:
            began = time.perf_counter()
            await run(code)
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(client(run) for run in runs))
    elapsed = time.perf_counter() - start
    return {
        "runs_per_s": len(times) / elapsed,
        "ms_p50": 1e3 * statistics.median(times),
        "cpu_ms": 1e3 * (cpu_seconds(servers) - used) / len(times),
    }


def cpu_seconds(servers: Sequence[psutil.Process]) -> float:
    """Return the processor time of processes and all their descendants, those that have ended included."""
    seconds = 0.0
    for process in (descendant for server in servers for descendant in (server, *server.children(recursive=True))):
        with suppress(psutil.Error):  # it has ended
            seconds += sum(process.cpu_times()[:4])  # user and system, its own and its children's
    return seconds


async def http_run(address: str) -> Run:
    """Return a function that runs a program by SandboxFusion's protocol, on a connection of its own."""
    connection = await JsonConnection.open(address)

    async def run(code: str) -> None:
        answer = await connection.post(
            "/run_code", {"code": code, "language": "python", "stdin": STDIN, "run_timeout": 60}
        )
        assert answer["status"] == "Success", answer
        assert answer["run_result"]["stdout"] == ANSWER, answer

    return run


async def grpc_run(executor: ExecutorClient) -> Run:
    """Return a function that runs a program by gRPC."""

    async def run(code: str) -> None:
        result = await executor.execute(code, stdin=STDIN)
        assert result.stdout == ANSWER, result

    return run


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandbox-fusion", type=Path, required=True, help="checkout of SandboxFusion")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each contender (default: 3)")
    options = parser.parse_args()
    results = asyncio.run(main(options.sandbox_fusion.resolve(), options.rounds))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
