"""Cost of a sandboxed snippet, compared with other ways to run it.

`python -m benchmarks.executor` measures, side by side in one run, the snippet

    import sympy as sp; x=sp.symbols("x"); print(sp.solve(x**2-5*x+6,x))

in fresh sessions, with one client and with four, and one-line snippets in open sessions:

    full, pod, docker  this executor over gRPC, at its two levels and with containers (if an engine has the image)
    bare_fork          fork, run, wait in a process with the zygote's libraries and memory, without isolation: the bound
    subprocess         a fresh `python -c`
    docker_run         `docker run` of the executor's image for each snippet, as plain Python
    smolagents_local   a fresh LocalPythonExecutor of smolagents, in this process

The contenders take turns for several rounds, and each figure is the median over the rounds, because the speed of a
shared machine drifts. Timeouts are measured while two more clients keep the executor busy: the time between the limit
of a snippet that cannot be interrupted and its result, without the time in the queue.
Results: benchmarks/results/executor.json.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.local_stack.stack import LocalStack

RESULTS = Path(__file__).parent / "results" / "executor.json"
SNIPPET = 'import sympy as sp; x=sp.symbols("x"); print(sp.solve(x**2-5*x+6,x))'
ANSWER = "[2, 3]"
LIMIT_MS = 200
WAITING = 8  # sandboxes, the default
CANNOT_BE_INTERRUPTED = "sum(range(10**12))"
Figures = dict[str, float]


async def main(rounds: int, image: str) -> dict[str, Any]:
    """Return the figures of every contender by name."""
    collected: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with AsyncExitStack() as stack:
        measures: dict[str, Callable[[], Awaitable[Figures]]] = {}
        for name, options in executors(image).items():
            server = await stack.enter_async_context(executor(options))
            measures[name] = server_measure(server, 6 if name == "docker" else 60)
            await until_full(rpc.ExecutorServiceStub(server))
        worker = await stack.enter_async_context(bare_fork_worker())
        measures["bare_fork"] = lambda: measure_worker(worker)
        measures["subprocess"] = lambda: processes(10, sys.executable, "-c", SNIPPET)
        measures["smolagents_local"] = lambda: asyncio.to_thread(smolagents_local, 60)
        if "docker" in measures:
            command = ("docker", "run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", SNIPPET)
            measures["docker_run"] = lambda: processes(3, *command)
        for number in range(rounds):
            for name, measure in measures.items():
                figures = await measure()
                print(number, name, figures, file=sys.stderr, flush=True)
                for key, value in figures.items():
                    collected[name][key].append(value)
    results: dict[str, Any] = {
        name: {key: round(statistics.median(values), 3) for key, values in figures.items()}
        for name, figures in collected.items()
    }
    return results | {
        "ratios": ratios(results),
        "rounds": rounds,
        "snippet": SNIPPET,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def executors(image: str) -> dict[str, list[str]]:
    """Return the options of each executor that this machine can run."""
    options = {level: ["--level", level, "--require", level] for level in ("full", "pod")}
    found = (
        shutil.which("docker")
        and not subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode
    )
    if found:
        options["docker"] = ["--backend", "docker", "--image", image]
    return {name: [*arguments, "--waiting-sandboxes", str(WAITING)] for name, arguments in options.items()}


def ratios(results: dict[str, Figures]) -> Figures:
    """Return the executor's figures relative to the alternatives."""
    full, bare, fresh = (results[name] for name in ("full", "bare_fork", "subprocess"))
    return {
        "fresh_sessions_1_full_vs_bare_fork": full["fresh_sessions_per_s_1"] / bare["fresh_sessions_per_s_1"],
        "fresh_sessions_4_full_vs_bare_fork": full["fresh_sessions_per_s_4"] / bare["fresh_sessions_per_s_4"],
        "fresh_sessions_1_full_vs_subprocess": full["fresh_sessions_per_s_1"] / fresh["fresh_sessions_per_s_1"],
        "fresh_sessions_4_full_vs_subprocess": full["fresh_sessions_per_s_4"] / fresh["fresh_sessions_per_s_4"],
        "warm_snippet_full_vs_empty_rpc": full["warm_snippet_ms_p50"] / full["empty_rpc_ms_p50"],
    }


@asynccontextmanager
async def executor(options: list[str]) -> AsyncIterator[grpc.aio.Channel]:
    async with (
        LocalStack(arguments={"executor": options}) as stack,
        grpc.aio.insecure_channel(stack.executor) as channel,
    ):
        yield channel


def server_measure(channel: grpc.aio.Channel, sessions: int) -> Callable[[], Awaitable[Figures]]:
    """Return a function that measures the executor behind `channel` with `sessions` fresh sessions."""
    stub = rpc.ExecutorServiceStub(channel)
    health = health_pb2_grpc.HealthStub(channel)

    async def fresh() -> None:
        result = (await stub.Execute(pb.ExecuteRequest(code=SNIPPET))).result
        assert result.stdout.strip() == ANSWER, result

    async def empty() -> None:
        await health.Check(health_pb2.HealthCheckRequest())

    async def measure() -> Figures:
        times, rate = await timed(fresh, sessions, 1)
        await until_full(stub)
        _, rate_of_4 = await timed(fresh, 2 * sessions, 4)
        await until_full(stub)
        figures = {
            "fresh_session_ms_p50": 1e3 * statistics.median(times),
            "fresh_sessions_per_s_1": rate,
            "fresh_sessions_per_s_4": rate_of_4,
            "empty_rpc_ms_p50": 1e3 * statistics.median((await timed(empty, 300, 1))[0]),
            **await warm(stub),
            **await timeouts(stub),
        }
        await until_full(stub)  # or its refill would slow down the next measurement
        return figures

    return measure


async def warm(stub: rpc.ExecutorServiceStub) -> Figures:
    """Measure snippets in open sessions."""
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(session(stub)) for _ in range(4)]
        one, *_ = sessions
        await timed(lambda: one("1 + 1"), 20, 1)
        times, _ = await timed(lambda: one("1 + 1"), 300, 1)
        solve_times, _ = await timed(lambda: one(SNIPPET), 50, 1)
        started = time.perf_counter()
        await asyncio.gather(*(timed(lambda run=run: run("1 + 1"), 150, 1) for run in sessions))
        return {
            "warm_snippet_ms_p50": 1e3 * statistics.median(times),
            "warm_solve_ms_p50": 1e3 * statistics.median(solve_times),
            "warm_snippets_per_s_4": 4 * 150 / (time.perf_counter() - started),
        }


async def timeouts(stub: rpc.ExecutorServiceStub) -> Figures:
    """Measure the delay of results of snippets that must be killed, while others keep the executor busy."""
    late: list[float] = []
    request = pb.ExecuteRequest(code=CANNOT_BE_INTERRUPTED, limits=pb.Limits(wall_ms=LIMIT_MS))

    async def one() -> None:
        started = time.perf_counter()
        result = (await stub.Execute(request)).result
        assert (result.outcome, result.state_lost) == (pb.OUTCOME_WALL_TIMEOUT, True), result
        late.append(1e3 * (time.perf_counter() - started) - result.usage.queue_ms - LIMIT_MS)

    async def keep_busy() -> None:
        while True:
            await stub.Execute(pb.ExecuteRequest(code=SNIPPET))

    busy = [asyncio.create_task(keep_busy()) for _ in range(2)]
    await timed(one, 20, 2)
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    late.sort()
    return {"timeout_late_ms_p50": statistics.median(late), "timeout_late_ms_max": late[-1]}


@asynccontextmanager
async def session(stub: rpc.ExecutorServiceStub) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Open a session and yield a function that runs a snippet in it."""
    stream = stub.Session()
    await stream.write(pb.SessionRequest(open=pb.OpenSession()))
    await stream.read()
    sequence = 0

    async def run(code: str) -> None:
        nonlocal sequence
        sequence += 1
        await stream.write(pb.SessionRequest(run=pb.RunSnippet(sequence=sequence, code=code)))
        result = (await stream.read()).result
        assert result.outcome == pb.OUTCOME_OK, result

    try:
        yield run
    finally:
        stream.cancel()


async def until_full(stub: rpc.ExecutorServiceStub) -> None:
    """Wait until the pool is full and no session is open."""
    while True:
        load = (await stub.GetInfo(pb.GetInfoRequest())).load
        if not load.live_sessions and load.waiting_sandboxes == WAITING:
            return
        await asyncio.sleep(0.5)


async def timed(call: Callable[[], Awaitable[Any]], count: int, clients: int) -> tuple[list[float], float]:
    """Return the seconds of each of `count` calls by `clients` concurrent clients, and the calls per second."""
    times: list[float] = []

    async def client() -> None:
        for _ in range(count // clients):
            started = time.perf_counter()
            await call()
            times.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return times, len(times) / (time.perf_counter() - started)


async def processes(count: int, *command: str) -> Figures:
    """Measure one fresh process per snippet."""

    async def one() -> None:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert out.decode().strip() == ANSWER, out

    times, rate = await timed(one, count, 1)
    _, rate_of_4 = await timed(one, max(4, count), 4)
    return {
        "fresh_session_ms_p50": 1e3 * statistics.median(times),
        "fresh_sessions_per_s_1": rate,
        "fresh_sessions_per_s_4": rate_of_4,
    }


def smolagents_local(count: int) -> Figures:
    """Measure smolagents' interpreter with one client: it holds the GIL, so four clients are no faster."""
    from smolagents.local_python_executor import LocalPythonExecutor

    times = []
    for _ in range(count):
        started = time.perf_counter()
        interpreter = LocalPythonExecutor(["sympy"])
        interpreter.send_tools({})
        output = interpreter(SNIPPET)
        assert output.logs.strip() == ANSWER, output
        times.append(time.perf_counter() - started)
    return {"fresh_session_ms_p50": 1e3 * statistics.median(times), "fresh_sessions_per_s_1": count / sum(times)}


@asynccontextmanager
async def bare_fork_worker() -> AsyncIterator[asyncio.subprocess.Process]:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.executor_bare_fork"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        yield worker
    finally:
        assert worker.stdin
        worker.stdin.close()
        await worker.wait()


async def measure_worker(worker: asyncio.subprocess.Process) -> Figures:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(b"measure\n")
    return dict(json.loads(await worker.stdout.readline()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each contender (default: 3)")
    parser.add_argument(
        "--image", default="deepmath-executor", help="image of `make images`; without it docker is skipped"
    )
    options = parser.parse_args()
    results = asyncio.run(main(options.rounds, options.image))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
