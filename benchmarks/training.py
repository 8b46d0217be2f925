"""GRPO with this trainer beside TRL's own GRPOTrainer, which runs its tools itself and generates with transformers.

`python -m benchmarks.training` trains, in one run and with the same problems in the same order, batch, LoRA, optimizer,
loss and rewards:

    trl          TRL alone, in one process: Python runs in that process, without a sandbox (`training_trl`)
    staleness_0  trainer, generator and executor, three services: a batch is sampled, then trained on
    staleness_1  the same; the next batch is sampled while one is trained on, by half of the cores
    pinned       staleness 1 with the generator on one core, the trainer on another: how well do they overlap?

on the embedded model with tools, then on a larger one with random weights, without tools, whose completions nearly all
run to the limit. `other_seconds` is what is neither sampling nor training: with us mostly the adapter's way to the
generator. The first steps and the last of a run do not count. All take turns for some rounds, and of each figure the
median is taken. Results: benchmarks/results/training.json. On two cores --quick takes
20 minutes, most of them TRL alone; without it several times as long.
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
TRL, OURS = "benchmarks.training_trl", "deepmath_trainer.training_worker"
LARGER = {"hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 6, "num_attention_heads": 6}
LENGTHS = (128, 384)
OPTIONS: dict[str, Sequence[str]] = {"generator": EMBEDDED_OPTIONS}
MEANS = (
    *("step_seconds", "generate_seconds", "train_seconds", "reward_seconds", "generator_idle", "trainer_idle"),
    *("staleness", "accuracy", "code_executed_rate", "model_tokens"),
)
Figures = dict[str, Any]


async def main(steps: int, rounds: int, lengths: tuple[int, ...], work: Path) -> Figures:
    # For all: where threads that wait keep their core, two processes that share cores hardly get on.
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
    """Return the recipe of the embedded model, for another model and batch."""
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
    """Train in each of the three ways in turn; return the medians and how many times as fast as TRL ours are."""
    runs: dict[str, list[Figures]] = {"trl": [], "staleness_0": [], "staleness_1": []}
    async with LocalStack(config.model, arguments=OPTIONS) as stack:
        for number in range(rounds):
            for name, found in runs.items():
                folder = work / f"{name}-{number}"
                if name == "trl":
                    found.append(await train(TRL, config, folder))
                else:
                    found.append(await train(OURS, ours(config, stack, int(name[-1])), folder))
    result = {name: medians(found) for name, found in runs.items()}
    check_same_work(result)
    for name in ("staleness_0", "staleness_1"):
        pairs = zip(runs[name], runs["trl"], strict=True)
        ratios = [mine["samples_per_s"] / theirs["samples_per_s"] for mine, theirs in pairs]
        result[f"{name}_vs_trl"] = round(statistics.median(ratios), 2)
    return result


async def pinned(config: TrainConfig, work: Path) -> Figures:
    """Return how trainer and generator overlap with a core each. The executor, whose work is elsewhere, is on both."""
    generator_core, trainer_core = sorted(os.sched_getaffinity(0))[:2]
    async with LocalStack() as executor:
        with on_core(generator_core):
            generator = LocalStack(config.model, executor=executor.executor, arguments=OPTIONS)
            await generator.__aenter__()
        try:
            with on_core(trainer_core):
                found = await train(OURS, ours(config, generator, staleness=1), work)
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
    """Write a random model with the tokenizer of the embedded one; return how many parameters it has."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(EMBEDDED_MODEL, folder, ignore=shutil.ignore_patterns("build", "*.safetensors"))
    # Tied and with large weights it would only repeat itself.
    shape = AutoConfig.from_pretrained(EMBEDDED_MODEL, **LARGER, tie_word_embeddings=False, initializer_range=0.02)
    shape.layer_types = ["full_attention"] * LARGER["num_hidden_layers"]
    model = AutoModelForCausalLM.from_config(shape)
    model.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def ours(config: TrainConfig, stack: LocalStack, staleness: int) -> TrainConfig:
    rollout = config.rollout.model_copy(update={"staleness": staleness})
    # At the same time as the generator the trainer gets by with half of the cores: more threads wait for each other.
    threads = len(os.sched_getaffinity(0)) // 2 or 1 if staleness else None
    launch = config.launch.model_copy(update={"threads": threads})
    return config.model_copy(update={"generators": [stack.generator], "rollout": rollout, "launch": launch})


async def train(module: str, config: TrainConfig, folder: Path) -> Figures:
    """Train in a process of its own and return the figures of its steps."""
    run = prepare(folder, config)
    with run.worker_log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, folder, stdout=log, stderr=log)
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise SystemExit(f"{module} has failed:\n{run.worker_log.read_text()[-4000:]}")
    found = figures(run, config)
    print(folder.name, rounded(found), file=sys.stderr, flush=True)
    return found


def prepare(folder: Path, config: TrainConfig) -> RunFolder:
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.write_config(config.to_yaml())
    return run


def figures(run: RunFolder, config: TrainConfig) -> Figures:
    # With the last batch nothing is sampled any more.
    steps = [line["metrics"] for line in run.read_metrics()[WARM_UP:-1]]
    found = {name: statistics.fmean(step[name] for step in steps) for name in MEANS if name in steps[0]}
    found["samples_per_s"] = config.batch / found["step_seconds"]
    if not (config.generators and config.rollout.staleness):  # else they happen at the same time
        named = sum(found.get(name, 0.0) for name in ("generate_seconds", "train_seconds", "reward_seconds"))
        found["other_seconds"] = found["step_seconds"] - named
    return found


def medians(runs: list[Figures]) -> Figures:
    return rounded({name: statistics.median(run[name] for run in runs) for name in runs[0]})


def rounded(figures: Figures) -> Figures:
    return {name: round(value, 3) for name, value in figures.items()}


def check_same_work(result: dict[str, Figures]) -> None:
    """End the benchmark where TRL's trajectories are not like ours: then it would compare two different things."""
    theirs, mine = (result[name]["model_tokens"] for name in ("trl", "staleness_0"))
    if not 0.75 < theirs / mine < 1.33:
        raise SystemExit(f"not the same work: {theirs:.0f} tokens a trajectory with TRL, {mine:.0f} with us")


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep the processes that are started in the block on one core."""
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
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps of a run")
    parser.add_argument("--rounds", type=int, default=2, help="how often everything is measured on the embedded model")
    parser.add_argument("--quick", action="store_true", help="one round of few steps; the figures are rough")
    options = parser.parse_args()
    plan = (6, 1, LENGTHS[:1]) if options.quick else (options.steps, options.rounds, LENGTHS)
    with tempfile.TemporaryDirectory(prefix="deepmath-bench-") as folder:
        results = asyncio.run(main(*plan, Path(folder)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
