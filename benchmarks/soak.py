"""Soak test: thousands of good, failing, hanging and hostile sessions through one executor, to find leaks.

`python -m benchmarks.soak` checks the outcome of every session and samples the executor's processes: descriptors and
resident memory of the supervisor, memory of the zygote, number of processes, zombies. It prints their values after the
first hundredth of the sessions, at the end, and at the maximum, and writes them to benchmarks/results/soak.json. Exit
status 1 if an outcome was wrong, the supervisor or the zygote was replaced, or a zombie was left.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import psutil

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.local_stack.stack import LocalStack

RESULTS = Path(__file__).parent / "results" / "soak.json"
CLIENTS = 8
SAMPLE_SECONDS = 1.0
LIMITS = pb.Limits(wall_ms=150, cpu_ms=100, memory_bytes=128 << 20)
ROOMY = pb.Limits(wall_ms=10_000)
PRELUDE = "import random\nos = random._os\nsys = os.sys\nctypes = sys.modules['ctypes']\n"

# Snippets of a session, their limits, and the expected outcomes of the last. Hostile ones bypass the import allow-list.
KINDS: dict[str, tuple[list[str], pb.Limits, set[int]]] = {
    "good": (["1 + 1"], ROOMY, {pb.OUTCOME_OK}),
    "good_maths": (["from sympy import *\nx = symbols('x')", "solve(x**2 - 5*x + 6, x)"], ROOMY, {pb.OUTCOME_OK}),
    "good_output": (["for n in range(1000): print(n)"], ROOMY, {pb.OUTCOME_OK}),
    "fails": (["1 / 0"], ROOMY, {pb.OUTCOME_EXCEPTION}),
    "does_not_compile": (["def"], ROOMY, {pb.OUTCOME_EXCEPTION}),
    "forbidden_import": (["import socket"], ROOMY, {pb.OUTCOME_POLICY_VIOLATION}),
    "spins": (["while True: pass"], LIMITS, {pb.OUTCOME_CPU_TIMEOUT, pb.OUTCOME_WALL_TIMEOUT}),
    "hangs_in_c": (["sum(range(10**12))"], LIMITS, {pb.OUTCOME_CPU_TIMEOUT, pb.OUTCOME_WALL_TIMEOUT}),
    "sleeps": ([PRELUDE + "sys.modules['time'].sleep(60)"], LIMITS, {pb.OUTCOME_WALL_TIMEOUT}),
    "takes_memory": (["x = bytes(1 << 30)"], ROOMY, {pb.OUTCOME_OUT_OF_MEMORY}),
    "prints_endlessly": (["while True: print('x' * 10**6)"], ROOMY, {pb.OUTCOME_OUTPUT_LIMIT}),
    "opens_a_socket": ([PRELUDE + "ctypes.CDLL(None).socket(2, 1, 0)"], ROOMY, {pb.OUTCOME_POLICY_VIOLATION}),
    "exits": ([PRELUDE + "os._exit(0)"], ROOMY, {pb.OUTCOME_CRASHED}),
    "crashes": ([PRELUDE + "ctypes.string_at(0)"], ROOMY, {pb.OUTCOME_CRASHED}),
    "forges_an_answer": ([PRELUDE + "os.write(3, b'\\xff' * 64)\nwhile True: pass"], ROOMY, {pb.OUTCOME_CRASHED}),
    "closes_everything": ([PRELUDE + "os.closerange(0, 64)\nwhile True: pass"], ROOMY, {pb.OUTCOME_CRASHED}),
}


async def main(sessions: int, options: list[str]) -> tuple[dict[str, Any], bool]:
    """Run `sessions` sessions; return the figures, and whether the test passed."""
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    numbers = iter(range(sessions))
    started = time.perf_counter()
    async with (
        LocalStack(arguments={"executor": options}) as stack,
        grpc.aio.insecure_channel(stack.executor) as channel,
    ):
        stub = rpc.ExecutorServiceStub(channel)
        supervisor = psutil.Process(stack.processes[0].pid)
        zygotes = tree(supervisor)[:3]  # launcher, reaper, zygote: the first to be started

        async def client() -> None:
            for number in numbers:
                kind = list(KINDS)[number % len(KINDS)]
                outcome = await session(stub, kind)
                outcomes[pb.Outcome.Name(outcome).removeprefix("OUTCOME_")] += 1
                if outcome not in KINDS[kind][2]:
                    wrong.append(f"{kind}: {pb.Outcome.Name(outcome)}")

        clients = asyncio.gather(*(client() for _ in range(CLIENTS)))
        samples = [sample(supervisor, zygotes[-1])]
        while not clients.done():
            await asyncio.wait([clients], timeout=SAMPLE_SECONDS)
            samples.append(sample(supervisor, zygotes[-1]) | {"sessions": outcomes.total()})
        await clients
        await asyncio.sleep(2)
        last = sample(supervisor, zygotes[-1])
        same_zygote = all(process.is_running() for process in zygotes)
        same_supervisor = stack.processes[0].returncode is None
    warm = [values for values in samples if values.get("sessions", 0) >= sessions // 100] or samples
    results = {
        "sessions": sessions,
        "seconds": round(time.perf_counter() - started, 1),
        "outcomes": dict(outcomes),
        "wrong_outcomes": wrong[:20],
        "supervisor_restarts": int(not same_supervisor),
        "zygote_replacements": int(not same_zygote),
        "zombies": last["zombies"],
        **{
            key: {"first": warm[0][key], "last": last[key], "maximum": max(values[key] for values in [*warm, last])}
            for key in ("descriptors", "supervisor_mib", "zygote_mib", "processes")
        },
        "machine": f"{len(os.sched_getaffinity(0))} cores",
    }
    return results, not wrong and same_supervisor and same_zygote and last["zombies"] == 0


async def session(stub: rpc.ExecutorServiceStub, kind: str) -> int:
    """Run the snippets of a session and return the outcome of the last one."""
    snippets, limits, _ = KINDS[kind]
    stream = stub.Session()
    await stream.write(pb.SessionRequest(open=pb.OpenSession(session_id=kind)))
    await stream.read()
    outcome = 0
    for sequence, code in enumerate(snippets, 1):
        run = pb.RunSnippet(sequence=sequence, code=code, limits=limits)
        await stream.write(pb.SessionRequest(run=run))
        outcome = (await stream.read()).result.outcome
    await stream.done_writing()
    await stream.read()
    return outcome


def tree(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def sample(supervisor: psutil.Process, zygote: psutil.Process) -> dict[str, float]:
    """Return the resources that the executor uses now."""
    below = tree(supervisor)
    zombies = 0
    for process in below:
        try:
            zombies += process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
    return {
        "descriptors": supervisor.num_fds(),
        "supervisor_mib": round(supervisor.memory_info().rss / 2**20, 1),
        "zygote_mib": round(zygote.memory_info().rss / 2**20, 1),
        "processes": len(below),
        "zombies": zombies,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20_000, help="number of sessions (default: 20000)")
    parser.add_argument("options", nargs="*", help="options of the executor, after --")
    arguments = parser.parse_args()
    results, passed = asyncio.run(main(arguments.sessions, arguments.options))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
    sys.exit(not passed)
