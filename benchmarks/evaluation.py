"""What it gains to evaluate with all samples in flight, over one sample after another.

`python -m benchmarks.evaluation` draws and grades, with the code behind `deepmath eval`, in one run, on the embedded
model with tools and the seeds' sampling:

    at_once     16 samples of 200 synthetic problems, all in flight
    sequential  16 samples of the first of these problems, one problem after another and one sample at a time, as
                DeepMath does (its engine gets one request at a time)

and compares samples per second, from the first request to the last verdict on disk. The sequential half is that of 8
problems, because all would take an hour. Results: benchmarks/results/evaluation.json.
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
from deepmath.evaluation.benchmark_registry import find
from deepmath.evaluation.evaluation_plan import EvaluationConfiguration, EvaluationPlan
from deepmath.evaluation.evaluation_run import EvaluationRun, read
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
        problems={"synthetic": find("synthetic").problems(problems)},
        configurations=(EvaluationConfiguration("+Agent", "agent"),),
        samples=SAMPLES,
        sampling=SAMPLING,
        budget=pb.Budget(),
    )
    some = replace(plan, problems={"synthetic": plan.problems["synthetic"][:sequential]})
    async with (
        LocalStack(str(EMBEDDED_MODEL), arguments={"generator": EMBEDDED_OPTIONS}) as stack,
        GeneratorClient(stack.generator) as client,
    ):
        with Verifier(2, 5.0) as verifier:
            with EvaluationRun(work / "warm-up", {}) as run:
                await EvaluationSampler(client, run, replace(some, samples=1, seed=1), verifier).draw()
            with EvaluationRun(work / "at_once", {}) as run:
                at_once = await timed(EvaluationSampler(client, run, plan, verifier).draw(), work / "at_once")
            with EvaluationRun(work / "sequential", {}) as run:
                one_by_one = await timed(one_at_a_time(client, run, some, verifier), work / "sequential")
    return {
        "at_once": at_once,
        "sequential": one_by_one,
        "at_once_vs_sequential": round(at_once["samples_per_s"] / one_by_one["samples_per_s"], 1),
        "samples_of_each_problem": SAMPLES,
        "model": EMBEDDED_MODEL.name,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}",
    }


async def one_at_a_time(client: GeneratorClient, run: EvaluationRun, plan: EvaluationPlan, verifier: Verifier) -> None:
    for problem in plan.problems["synthetic"]:
        for samples in range(1, plan.samples + 1):  # of which all but the last are there
            one = replace(plan, problems={"synthetic": [problem]}, samples=samples)
            await EvaluationSampler(client, run, one, verifier).draw()


async def timed(work: Awaitable[Any], folder: Path) -> Figures:
    began = time.perf_counter()
    await work
    seconds = time.perf_counter() - began
    samples = list(read(folder))
    return {
        "problems": len({sample.problem_id for sample in samples}),
        "samples": len(samples),
        "right": round(sum(sample.correct is True for sample in samples) / len(samples), 3),
        "seconds": round(seconds, 1),
        "samples_per_s": round(len(samples) / seconds, 2),
        "tokens_per_s": round(sum(sample.model_tokens for sample in samples) / seconds, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--sequential", type=int, default=8, help="problems, one sample at a time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(main(arguments.problems, arguments.sequential, Path(folder)))
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
