"""Lag of the generator's event loop while 64 trajectories write hostile text.

`python -m benchmarks.loop_lag` starts an executor and a generator, whose event loop measures by how much a sleep of one
millisecond is late. Phases follow each other in one run:

    quiet       nothing
    rollout     64 trajectories at once, each of 20,000 tokens in steps of 3,000 that all end at the same moment
    solve       64 streamed samples, a token of each every 20 ms
    chat        8 chats with messages of 512 KiB, whose answers are streamed
    prompts     a rollout of 64 questions of 60 KiB

The engine is scripted: it samples the worst texts known, one for each trajectory in turn (boxes and braces that are
never closed, marks and parts of marks, bytes that are no characters, calls that are empty, full of fences or never
end). `--model` serves the embedded model with vLLM instead, at temperature 2, which writes random tokens; vLLM's own
work in the event loop is part of the lag then. Figures are milliseconds: median, 99th percentile, maximum. `work` is
the part of the lag in which the event loop's thread was computing; the rest it waited, for a processor or for another
thread. On a machine with other work, `--real-time` gives the generator's process precedence (as root).
Results: benchmarks/results/loop_lag.json, or loop_lag_model.json.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.loop_lag_worker import TEXTS
from deepmath.clients import GeneratorClient
from deepmath.errors import DeepMathError
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import LocalStack

RESULTS = Path(__file__).parent / "results"
TRAJECTORIES, CHATS, PROMPTS = 64, 8, 64
CHAT_BYTES, QUESTION_BYTES = 500 << 10, 60 << 10
HOT = pb.Sampling(temperature=2.0, top_p=1.0, top_k=0)


async def main(seconds: float, model: bool, real_time: bool) -> dict[str, Any]:
    """Return the lags of all phases."""
    lags: dict[str, Any] = {}
    async with LocalStack() as stack:
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.loop_lag_worker", stack.executor),
            *("model" if model else "scripted", "real-time" if real_time else "shared"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with GeneratorClient(await reply(worker)) as client:
                for name, phase in PHASES.items():
                    await reply(worker, "start")
                    await run(phase(client), seconds)
                    lags[name] = json.loads(await reply(worker, "stop"))
                    print(name, lags[name], file=sys.stderr, flush=True)
        finally:
            assert worker.stdin
            worker.stdin.close()
            await worker.wait()
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    engine = "vLLM" if model else "scripted"
    return {**lags, "engine": engine, "real_time": real_time, "trajectories": TRAJECTORIES, "machine": machine}


async def run(phase: Awaitable[None], seconds: float) -> None:
    """Run a phase to its end, or for this time."""
    try:
        async with asyncio.timeout(seconds):
            await phase
    except TimeoutError:
        pass


async def quiet(_: GeneratorClient) -> None:
    await asyncio.sleep(5)


async def rollout(client: GeneratorClient) -> None:
    prompts = [pb.RolloutPrompt(question="?", seed=number) for number in range(TRAJECTORIES)]
    async for _ in client.rollout(prompts, sampling=HOT):
        pass


async def solve(client: GeneratorClient) -> None:
    sampling = pb.Sampling(temperature=2.0, top_p=1.0, top_k=0, seed=0)
    async for _ in client.solve("?", samples=TRAJECTORIES, sampling=sampling):
        pass


async def chat(client: GeneratorClient) -> None:
    async def one(number: int) -> None:
        text = TEXTS[number % len(TEXTS)]
        content = (text * (CHAT_BYTES // len(text.encode()) + 1)).encode()[:CHAT_BYTES].decode(errors="ignore")
        message = pb.ChatMessage(role=pb.ChatMessage.ROLE_USER, content=content)
        await read(client.chat([message], sampling=pb.Sampling(temperature=2.0, seed=number), max_tokens=1000))

    await asyncio.gather(*map(one, range(CHATS)))


async def prompts(client: GeneratorClient) -> None:
    question = "12 + 34 is what? " * (QUESTION_BYTES // 17)
    await read(client.rollout([pb.RolloutPrompt(question=question)] * PROMPTS, budget=pb.Budget(max_tokens=1)))


async def read(events: AsyncIterator[Any]) -> None:
    """Read a stream to its end. A model with a short context rejects a long prompt, after it was encoded."""
    try:
        async for _ in events:
            pass
    except DeepMathError as error:
        print(str(error)[:120], file=sys.stderr)


PHASES: dict[str, Callable[[GeneratorClient], Awaitable[None]]] = {
    "quiet": quiet,
    "rollout": rollout,
    "solve": solve,
    "chat": chat,
    "prompts": prompts,
}


async def reply(worker: asyncio.subprocess.Process, command: str = "") -> str:
    """Send a command to the worker and return its answer."""
    assert worker.stdin
    assert worker.stdout
    if command:
        worker.stdin.write(f"{command}\n".encode())
    while line := (await worker.stdout.readline()).decode():
        if line.startswith("= "):
            return line[2:].strip()
    raise SystemExit("the benchmark's worker has exited")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="longest time of a phase")
    parser.add_argument("--model", action="store_true", help="serve the embedded model instead of hostile texts")
    parser.add_argument("--real-time", action="store_true", help="run the generator before all else on the machine")
    arguments = parser.parse_args()
    if arguments.real_time and os.geteuid():
        parser.error("--real-time changes the scheduling of a process; run it as root")
    figures = asyncio.run(main(arguments.seconds, arguments.model, arguments.real_time))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / ("loop_lag_model.json" if arguments.model else "loop_lag.json")).write_text(
        json.dumps(figures, indent=1) + "\n"
    )
    print(json.dumps(figures, indent=1))
