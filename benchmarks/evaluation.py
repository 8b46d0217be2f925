"""Throughput of an evaluation with all samples in flight, compared with one sample at a time.

`python -m benchmarks.evaluation` draws and grades samples of the embedded model in agent mode, with the code behind
`deepmath eval` and the sampling parameters of DeepMath:

    at_once     16 samples of 200 synthetic problems, all in flight
    sequential  16 samples of the first 8 of these problems, one sample at a time, as in Intel's DeepMath repository,
                whose engine gets one request at a time

It compares samples per second, from the first request to the last verdict on disk. The sequential part has 8 problems
because 200 would take an hour. Results: benchmarks/results/evaluation.json.
"""

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepmath.clients import GeneratorClient
from deepmath.evaluation.benchmark_registry import find_benchmark
from deepmath.evaluation.evaluation_files import read_samples
from deepmath.evaluation.evaluation_plan import EvaluationConfiguration, EvaluationPlan
from deepmath.evaluation.evaluation_run import EvaluationRun
from deepmath.evaluation.evaluation_sampler import EvaluationSampler
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS, LocalStack

RESULTS = Path(__file__).parent / "results" / "evaluation.json"
SAMPLES = 16
SAMPLING = pb.Sampling(temperature=0.6, top_p=0.95, top_k=20)
Figures = dict[str, Any]


async def main(problems: int, sequential: int, work: Path) -> Figures:
    plan = EvaluationPlan(
        model=EMBEDDED_MODEL.name,
        problems={"synthetic": find_benchmark("synthetic").problems(problems)},
        configurations=(EvaluationConfiguration("+Agent", "agent"),),
        samples=SAMPLES,
        sampling=SAMPLING,
        budget=pb.Budget(),
    )
    subset = replace(plan, problems={"synthetic": plan.problems["synthetic"][:sequential]})
    async with (
        LocalStack(str(EMBEDDED_MODEL), arguments={"generator": EMBEDDED_OPTIONS}) as stack,
        GeneratorClient(stack.generator) as client,
    ):
        with Verifier(2, 5.0) as verifier:
            with EvaluationRun(work / "warm-up", {}) as run:
                await EvaluationSampler(client, run, replace(subset, samples=1, seed=1), verifier).draw()
            with EvaluationRun(work / "at_once", {}) as run:
                at_once = await timed(EvaluationSampler(client, run, plan, verifier).draw(), work / "at_once")
            with EvaluationRun(work / "sequential", {}) as run:
                sequential_figures = await timed(draw_sequentially(client, run, subset, verifier), work / "sequential")
    return {
        "at_once": at_once,
        "sequential": sequential_figures,
        "at_once_vs_sequential": round(at_once["samples_per_s"] / sequential_figures["samples_per_s"], 1),
        "samples_of_each_problem": SAMPLES,
        "model": EMBEDDED_MODEL.name,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}",
    }


async def draw_sequentially(
    client: GeneratorClient, run: EvaluationRun, plan: EvaluationPlan, verifier: Verifier
) -> None:
    for problem in plan.problems["synthetic"]:
        for samples in range(1, plan.samples + 1):  # the run already holds all but the last
            one = replace(plan, problems={"synthetic": [problem]}, samples=samples)
            await EvaluationSampler(client, run, one, verifier).draw()


async def timed(work: Awaitable[Any], folder: Path) -> Figures:
    started = time.perf_counter()
    await work
    seconds = time.perf_counter() - started
    samples = list(read_samples(folder))
    return {
        "problems": len({sample.problem_id for sample in samples}),
        "samples": len(samples),
        "accuracy": round(sum(sample.correct is True for sample in samples) / len(samples), 3),
        "seconds": round(seconds, 1),
        "samples_per_s": round(len(samples) / seconds, 2),
        "tokens_per_s": round(sum(sample.model_tokens for sample in samples) / seconds, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=200, help="problems of the concurrent part")
    parser.add_argument("--sequential", type=int, default=8, help="problems of the sequential part")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(main(arguments.problems, arguments.sequential, Path(folder)))
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
