"""Throughput of the agent loop, compared with the bare engine and with one trajectory at a time.

`python -m benchmarks.agent_loop_throughput` measures, in one run with the embedded model on test problems at
temperature 1:

    raw         the engine alone: no tools, no gRPC, 128 concurrent requests
    agent       GeneratorService.Rollout with tools, 128 concurrent trajectories
    sequential  the same, one trajectory at a time, as the DeepMath agent does

in sampled model tokens per second, without tool tokens, at most 256 per trajectory. Rounds of raw and agent alternate,
and the median of each counts. Everything is measured twice: pinned (all generator processes on one core; the executor,
which would run on other machines, and this client on the other) and unpinned.
Results: benchmarks/results/agent_loop_throughput.json.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from deepmath.clients import GeneratorClient
from deepmath.data.synthetic import generate
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL, LocalStack

IN_FLIGHT = 128
RESULTS = Path(__file__).parent / "results" / "agent_loop_throughput.json"
SAMPLING = pb.Sampling(temperature=1.0, top_p=1.0, top_k=0)
# Without it, a few samples that never end would run in an otherwise empty batch.
MAX_TOKENS = 256


async def main(problems: int, sequential: int, rounds: int) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    pinned = {
        **await measure(problems, sequential, rounds, cores[:1], cores[1:2]),
        "cores": {"generator": 1, "executor": 1},
    }
    unpinned = await measure(problems, sequential, rounds, cores, cores)
    return {
        **pinned,
        "unpinned": unpinned,
        "in_flight": IN_FLIGHT,
        "max_tokens": MAX_TOKENS,
        "problems": problems,
        "sequential_problems": sequential,
        "rounds": rounds,
        "model": EMBEDDED_MODEL.name,
        "machine": f"{len(cores)} cores, {platform.machine()}, Python {platform.python_version()}",
    }


async def measure(
    problems: int, sequential: int, rounds: int, generator_cores: list[int], other_cores: list[int]
) -> dict[str, Any]:
    """Return the three rates and their ratios with the processes pinned to these cores."""
    os.sched_setaffinity(0, other_cores)  # of this process and the executor, which inherits it
    questions = [problem.problem for problem in generate(problems, "test", 0)]
    async with LocalStack() as stack:
        worker = await start_worker(stack.executor, generator_cores, questions)
        try:
            async with GeneratorClient(await reply(worker)) as client:
                await agent(client, questions[:IN_FLIGHT], IN_FLIGHT)  # warm-up
                raws, agents = [], []
                for _ in range(rounds):
                    raws.append(await raw(worker))
                    agents.append(await agent(client, questions, IN_FLIGHT))
                    print(f"raw {raws[-1]:.0f}, agent {agents[-1]:.0f} tokens/s", file=sys.stderr, flush=True)
                alone = await agent(client, questions[:sequential], 1)
                print(f"sequential {alone:.0f} tokens/s", file=sys.stderr, flush=True)
        finally:
            assert worker.stdin
            worker.stdin.close()  # it stops its engine and exits
            await worker.wait()
    raw_rate, agent_rate = statistics.median(raws), statistics.median(agents)
    return {
        "raw_tokens_per_s": round(raw_rate, 1),
        "agent_tokens_per_s": round(agent_rate, 1),
        "sequential_tokens_per_s": round(alone, 1),
        "agent_vs_raw": round(agent_rate / raw_rate, 3),
        "agent_vs_sequential": round(agent_rate / alone, 2),
        "raw_rounds": [round(rate, 1) for rate in raws],
        "agent_rounds": [round(rate, 1) for rate in agents],
    }


async def agent(client: GeneratorClient, questions: list[str], in_flight: int) -> float:
    """Return the model tokens per second of one rollout, or of sequential ones if `in_flight` is 1."""
    batches = [questions] if in_flight > 1 else [[question] for question in questions]
    tokens, started = 0, time.perf_counter()
    budget = pb.Budget(max_tokens=MAX_TOKENS)
    for batch in batches:
        prompts = [pb.RolloutPrompt(question=question) for question in batch]
        async for response in client.rollout(prompts, sampling=SAMPLING, budget=budget):
            assert response.trajectory.status != pb.STATUS_INFRASTRUCTURE_FAILED, response.trajectory.notes
            tokens += response.trajectory.model_tokens
    return tokens / (time.perf_counter() - started)


async def raw(worker: asyncio.subprocess.Process) -> float:
    """Return the tokens per second of the engine alone, measured in its process."""
    assert worker.stdin
    worker.stdin.write(b"raw\n")
    return float(await reply(worker))


async def start_worker(executor: str, cores: list[int], questions: list[str]) -> asyncio.subprocess.Process:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.agent_loop_throughput_worker", executor, ",".join(map(str, cores))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdin
    worker.stdin.write(json.dumps(questions).encode() + b"\n")
    return worker


async def reply(worker: asyncio.subprocess.Process) -> str:
    assert worker.stdout
    while line := (await worker.stdout.readline()).decode():
        if line.startswith("= "):
            return line[2:].strip()
    raise SystemExit("the benchmark's worker has exited")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=256, help="problems per round of raw or agent")
    parser.add_argument("--sequential", type=int, default=12, help="problems solved sequentially")
    parser.add_argument("--rounds", type=int, default=2, help="alternating rounds of raw and agent")
    arguments = parser.parse_args()
    figures = asyncio.run(main(arguments.problems, arguments.sequential, arguments.rounds))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
