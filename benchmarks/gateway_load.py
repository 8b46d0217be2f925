"""Load on the gateway: streaming chats and `run_code` calls at once, beside the same load by gRPC.

`python -m benchmarks.gateway_load` starts a stack with the embedded model and its gateway, and sends, all at once,

    200 chats with the maths agent, streamed: `/v1/chat/completions`, or `Solve` by gRPC
    400 programs, each a fresh run:           `/run_code`, or a session by gRPC

to the gateway and to the services themselves in turns, and then the chats without the programs. An HTTP call opens a
connection, as most clients' calls do; all gRPC calls share one per service. It counts errors and honest refusals (429,
503 and 504, or RESOURCE_EXHAUSTED and UNAVAILABLE), and takes the time to the first event of each chat, its p50 and
p95, and to the result of each program. `alone_` marks the chats without programs. The gateway's figures are divided by
those of gRPC in the same round; the ratios are medians over the rounds. Results: benchmarks/results/gateway_load.json.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from operator import truediv
from pathlib import Path
from typing import Any, cast

from benchmarks.event_connection import StreamRefused, stream_events
from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.data.synthetic import generate
from deepmath.errors import Overloaded, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS, LocalStack

RESULTS = Path(__file__).parent / "results" / "gateway_load.json"
MODEL = "deepmath-agent"
PROGRAM, STDOUT = "print(6 * 7)", "42\n"
REFUSALS = (StreamRefused, Overloaded, Unavailable)
Call = Callable[[int], Awaitable[float]]
"""Makes the call of a number and returns the seconds that count."""


async def main(rounds: int, chats: int, programs: int) -> dict[str, Any]:
    """Return the figures of both ways, and their ratios."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    questions = [problem.problem for problem in generate(chats, "test", seed=1)]
    collected: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    async with AsyncExitStack() as block:
        stack = LocalStack(
            str(EMBEDDED_MODEL),
            listen={"gateway": "127.0.0.1:0"},
            arguments={"generator": EMBEDDED_OPTIONS, "gateway": ["--executor-patience-s", "120"]},
        )
        await block.enter_async_context(stack)
        generator = await block.enter_async_context(GeneratorClient(stack.generator))
        executor = await block.enter_async_context(ExecutorClient(stack.executor, 120.0))
        ways: dict[str, tuple[Call, Call]] = {
            "gateway": (http_chat(stack.gateway, questions), http_program(stack.gateway)),
            "grpc": (grpc_chat(generator, questions), grpc_program(executor)),
        }
        for chat, program in ways.values():  # warm-up
            await load(chat, program, 8, 8, Counter())
        for number in range(rounds):
            for name, (chat, program) in sorted(ways.items(), reverse=number % 2 == 0):  # each is first in turn
                figures = await load(chat, program, chats, programs, counts[name])
                alone = await load(chat, program, chats, 0, counts[name])
                figures |= {f"alone_{key}": value for key, value in alone.items() if "event" in key}
                print(number, name, figures, dict(counts[name]), file=sys.stderr, flush=True)
                for key, value in figures.items():
                    collected[name][key].append(value)
    ratios = {
        key: round(statistics.median(map(truediv, values, collected["grpc"][key])), 2)
        for key, values in collected["gateway"].items()
    }
    medians = {
        name: {key: round(statistics.median(values), 3) for key, values in figures.items()} | dict(counts[name])
        for name, figures in collected.items()
    }
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    return medians | {"ratios": ratios, "chats": chats, "programs": programs, "rounds": rounds, "machine": machine}


async def load(chat: Call, program: Call, chats: int, programs: int, counts: Counter[str]) -> dict[str, float]:
    """Make all calls at once and return their times in seconds."""

    async def timed(call: Call, number: int, kind: str, times: list[float]) -> None:
        try:
            times.append(await call(number))
            counts[f"{kind}_ok"] += 1
        except REFUSALS:
            counts[f"{kind}_refused"] += 1
        except Exception as error:
            counts[f"{kind}_errors"] += 1
            print(kind, number, repr(error)[:300], file=sys.stderr)

    first_events: list[float] = []
    results: list[float] = []
    start = time.perf_counter()
    await asyncio.gather(
        *(timed(chat, number, "chats", first_events) for number in range(chats)),
        *(timed(program, number, "programs", results) for number in range(programs)),
    )
    return {
        "total_s": time.perf_counter() - start,
        "first_event_p50_s": quantile(first_events, 0.5),
        "first_event_p95_s": quantile(first_events, 0.95),
        "program_p50_s": quantile(results, 0.5),
        "program_p95_s": quantile(results, 0.95),
    }


def quantile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def http_chat(address: str, questions: list[str]) -> Call:
    """Return a chat by OpenAI's API: the time to its first event counts, and it is read to its end."""

    async def call(number: int) -> float:
        message = {"role": "user", "content": questions[number % len(questions)]}
        body = {"model": MODEL, "messages": [message], "seed": number, "stream": True}
        async with aclosing(stream_events(address, "/v1/chat/completions", body)) as events:
            return await first_of(events, lambda event: b'"error"' not in event)

    return call


def grpc_chat(generator: GeneratorClient, questions: list[str]) -> Call:
    """Return the same by gRPC."""

    async def call(number: int) -> float:
        events = generator.solve(questions[number % len(questions)], sampling=pb.Sampling(seed=number), omit_vote=True)
        async with aclosing(cast(Any, events)):
            return await first_of(events, lambda event: event.trajectory.status != pb.STATUS_INFRASTRUCTURE_FAILED)

    return call


async def first_of(events: AsyncIterator[Any], is_valid: Callable[[Any], bool]) -> float:
    """Read all events, which have to be valid, and return the seconds until the first."""
    start, first = time.perf_counter(), None
    async for event in events:
        first = first or time.perf_counter() - start
        assert is_valid(event), event
    assert first is not None
    return first


def http_program(address: str) -> Call:
    """Return a program by SandboxFusion's protocol."""
    host, _, port = address.rpartition(":")
    content = json.dumps({"code": PROGRAM, "language": "python", "run_timeout": 60, "compile_timeout": 100}).encode()
    head = f"POST /run_code HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n"

    async def call(number: int) -> float:
        del number
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        response = await reader.read()
        writer.close()
        status = int(response.split(b" ", 2)[1])
        if status in (429, 503, 504) or b'"SandboxError"' in response:
            raise StreamRefused(status)
        assert json.loads(response.partition(b"\r\n\r\n")[2])["run_result"]["stdout"] == STDOUT, response
        return time.perf_counter() - start

    return call


def grpc_program(executor: ExecutorClient) -> Call:
    """Return the same by gRPC."""

    async def call(number: int) -> float:
        del number
        start = time.perf_counter()
        assert (await executor.execute(PROGRAM)).stdout == STDOUT
        return time.perf_counter() - start

    return call


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (default: 3)")
    parser.add_argument("--chats", type=int, default=200, help="concurrent chats (default: 200)")
    parser.add_argument("--programs", type=int, default=400, help="concurrent programs (default: 400)")
    options = parser.parse_args()
    measured = asyncio.run(main(options.rounds, options.chats, options.programs))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(measured, indent=1) + "\n")
    print(json.dumps(measured, indent=1))
