"""Compares this trainer with TRL's own GRPOTrainer, which runs its tools itself and generates with transformers.

`python -m benchmarks.training` trains in four ways, with the same problems in the same order, batch, LoRA, optimizer,
loss and rewards:

    trl          TRL alone, in one process: Python runs in that process, without a sandbox (`training_trl`)
    staleness_0  trainer, generator and executor as services: sampling and training alternate
    staleness_1  the same services: the next batch is sampled during training, which uses half of the cores
    pinned       staleness 1 with the generator on one core and the trainer on another, to measure their overlap

on the embedded model with tools, then on a larger one with random weights, without tools, whose completions nearly all
reach the length limit. `other_seconds` is neither sampling nor training; in this trainer mostly publishing the adapter.
The first steps and the last step of a run are ignored. The ways take turns for some rounds; each figure is the median.
Results: benchmarks/results/training.json. On two cores --quick takes 20 minutes, mostly for TRL alone; a full run
several times as long.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_folder import RunFolder

from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS, LocalStack

RESULTS = Path(__file__).parent / "results" / "training.json"
WARM_UP = 2  # steps
TRL_ALONE, WORKER = "benchmarks.training_trl", "deepmath_trainer.training_worker"
LARGER = {"hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 6, "num_attention_heads": 6}
LENGTHS = (128, 384)
OPTIONS: dict[str, Sequence[str]] = {"generator": EMBEDDED_OPTIONS}
MEANS = (
    *("step_seconds", "generate_seconds", "train_seconds", "reward_seconds", "generator_idle", "trainer_idle"),
    *("staleness", "accuracy", "code_executed_rate", "model_tokens"),
)
Figures = dict[str, Any]


async def main(steps: int, rounds: int, lengths: tuple[int, ...], work: Path) -> Figures:
    # For all: spinning threads of one process would slow down the others on the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    config = settings(EMBEDDED_MODEL, steps)
    return {
        EMBEDDED_MODEL.name: await compare(config, rounds, work / "tiny"),
        "pinned": await pinned(config, work / "pinned"),
        **await larger(steps, lengths, work),
        "batch": config.batch,
        "steps": steps,
        "rounds": rounds,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def settings(model: Path, steps: int, **rollout: Any) -> TrainConfig:
    """Return the settings of the comparison for a model; `rollout` overrides those of the batch."""
    rollout = {"groups": 8, "samples": 8, "max_tokens": 512, "max_steps": 6, "snippet_ms": 5000} | rollout
    batch = rollout["groups"] * rollout["samples"]
    optimizer = {"learning_rate": 5e-4, "schedule": "linear", "warmup": 0.05, "micro_batch": batch}
    return TrainConfig.model_validate(
        {
            "model": str(model),
            "rollout": rollout,
            "optimizer": {"steps": steps} | optimizer,
            "launch": {"dtype": "float32", "cpu": True},
            "report_to": [],
        }
    )


async def compare(config: TrainConfig, rounds: int, work: Path) -> Figures:
    """Train in each of the three ways in turn; return the medians, and the speed relative to TRL alone."""
    runs: dict[str, list[Figures]] = {"trl": [], "staleness_0": [], "staleness_1": []}
    async with LocalStack(config.model, arguments=OPTIONS) as stack:
        for number in range(rounds):
            for name, found in runs.items():
                folder = work / f"{name}-{number}"
                if name == "trl":
                    found.append(await train(TRL_ALONE, config, folder))
                else:
                    found.append(await train(WORKER, with_services(config, stack, int(name[-1])), folder))
    result = {name: medians(found) for name, found in runs.items()}
    check_same_work(result)
    for name in ("staleness_0", "staleness_1"):
        pairs = zip(runs[name], runs["trl"], strict=True)
        ratios = [services["samples_per_s"] / trl["samples_per_s"] for services, trl in pairs]
        result[f"{name}_vs_trl"] = round(statistics.median(ratios), 2)
    return result


async def pinned(config: TrainConfig, work: Path) -> Figures:
    """Return how trainer and generator overlap with one core each. The executor may use both."""
    generator_core, trainer_core = sorted(os.sched_getaffinity(0))[:2]
    async with LocalStack() as executor:
        with on_core(generator_core):
            generator = LocalStack(config.model, executor=executor.executor, arguments=OPTIONS)
            await generator.__aenter__()
        try:
            with on_core(trainer_core):
                found = await train(WORKER, with_services(config, generator, staleness=1), work)
        finally:
            await generator.__aexit__()
    longer = max(found["generate_seconds"], found["train_seconds"])
    return rounded(found) | {"step_vs_longer": round(found["step_seconds"] / longer, 3)}


async def larger(steps: int, lengths: tuple[int, ...], work: Path) -> Figures:
    """Compare on a larger model, with completions of different lengths."""
    model = work / "larger"
    parameters = build_larger(model)
    name = f"random, {parameters / 1e6:.1f} M parameters"
    found = {}
    for length in lengths:
        config = settings(model, min(steps, WARM_UP + 3), mode="plain", groups=4, max_tokens=length)
        found[f"{name}, {length} tokens"] = await compare(config, 1, work / f"larger-{length}")
    return found


def build_larger(folder: Path) -> int:
    """Write a random model with the tokenizer of the embedded one; return its number of parameters."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(EMBEDDED_MODEL, folder, ignore=shutil.ignore_patterns("build", "*.safetensors"))
    # With tied or large weights it would repeat a single token.
    shape = AutoConfig.from_pretrained(EMBEDDED_MODEL, **LARGER, tie_word_embeddings=False, initializer_range=0.02)
    shape.layer_types = ["full_attention"] * LARGER["num_hidden_layers"]
    model = AutoModelForCausalLM.from_config(shape)
    model.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def with_services(config: TrainConfig, stack: LocalStack, staleness: int) -> TrainConfig:
    rollout = config.rollout.model_copy(update={"staleness": staleness})
    # Concurrently with the generator the trainer uses half of the cores: more threads would compete for them.
    threads = len(os.sched_getaffinity(0)) // 2 or 1 if staleness else None
    launch = config.launch.model_copy(update={"threads": threads})
    return config.model_copy(update={"generators": [stack.generator], "rollout": rollout, "launch": launch})


async def train(module: str, config: TrainConfig, folder: Path) -> Figures:
    """Train in a new process and return the figures of its steps."""
    run = prepare(folder, config)
    await run_module(module, run)
    found = figures(run, config)
    print(folder.name, rounded(found), file=sys.stderr, flush=True)
    return found


async def run_module(module: str, run: RunFolder) -> None:
    """Run `python -m module FOLDER` to its end; exit with the end of its log if it fails."""
    with run.worker_log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", module, run.path, stdout=log, stderr=log
        )
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise SystemExit(f"{module} failed in {run.path}:\n{run.worker_log.read_text()[-4000:]}")


def prepare(folder: Path, config: TrainConfig) -> RunFolder:
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.write_config(config.to_yaml())
    return run


def figures(run: RunFolder, config: TrainConfig) -> Figures:
    # Nothing is sampled during the last step.
    steps = [line["metrics"] for line in run.read_metrics()[WARM_UP:-1]]
    found = {name: statistics.fmean(step[name] for step in steps) for name in MEANS if name in steps[0]}
    found["samples_per_s"] = config.batch / found["step_seconds"]
    if not (config.generators and config.rollout.staleness):  # otherwise they are concurrent
        named = sum(found.get(name, 0.0) for name in ("generate_seconds", "train_seconds", "reward_seconds"))
        found["other_seconds"] = found["step_seconds"] - named
    return found


def medians(runs: list[Figures]) -> Figures:
    return rounded({name: statistics.median(run[name] for run in runs) for name in runs[0]})


def rounded(figures: Figures) -> Figures:
    return {name: round(value, 3) for name, value in figures.items()}


def check_same_work(result: dict[str, Figures]) -> None:
    """Exit if the trajectories of TRL alone differ too much in length: the comparison would be meaningless."""
    trl, services = (result[name]["model_tokens"] for name in ("trl", "staleness_0"))
    if not 0.75 < trl / services < 1.33:
        raise SystemExit(
            f"different work: {trl:.0f} tokens per trajectory with TRL alone, {services:.0f} with services"
        )


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Pin the processes that are started in the block to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = str(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        del os.environ["VLLM_CPU_OMP_THREADS_BIND"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="Optimizer steps per run.")
    parser.add_argument("--rounds", type=int, default=2, help="Rounds on the embedded model.")
    parser.add_argument("--quick", action="store_true", help="One round of few steps, for rough figures.")
    options = parser.parse_args()
    plan = (6, 1, LENGTHS[:1]) if options.quick else (options.steps, options.rounds, LENGTHS)
    with tempfile.TemporaryDirectory(prefix="deepmath-bench-") as folder:
        results = asyncio.run(main(*plan, Path(folder)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
