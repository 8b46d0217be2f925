"""The embedded model's lesson in uniform order and with the curriculum: accuracy at equal steps and at equal time.

`python -m benchmarks.curriculum` trains the recipe tiny-math from several seeds in both orders, which take turns, with
checkpoints on the way, and then evaluates each checkpoint on the test problems of the recipe. Seconds are those of the
training steps. `--folder` keeps the runs: those that are done are not trained again.

Results: benchmarks/results/curriculum.json, and its plot docs/results/curriculum.png.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import secrets
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deepmath_trainer.checkpoint_store import CheckpointStore
from deepmath_trainer.generator_check import check_generator
from deepmath_trainer.generator_replicas import GeneratorReplicas
from deepmath_trainer.policy_evaluation import evaluate_policy
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.training_data import load_problems

from benchmarks.training import OPTIONS, WORKER, run_module
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.grading.verifier import Verifier
from deepmath.local_stack.local_services import BACKGROUND
from deepmath.local_stack.stack import LocalStack

RESULTS = Path(__file__).parent / "results" / "curriculum.json"
PLOT = Path(__file__).parent.parent / "docs" / "results" / "curriculum.png"
ORDERS = ("uniform", "pass_rate")
COLOURS = ("tab:gray", "tab:green")


@dataclass(frozen=True)
class Point:
    """A policy of a run."""

    step: int
    seconds: float
    """Of training up to it."""
    accuracy: float


@dataclass(frozen=True)
class OrderRun:
    """A run and its policies, the untrained one first."""

    order: str
    seed: int
    points: list[Point]
    flat_groups: list[int]
    """By step."""

    def accuracy_at(self, seconds: float) -> float:
        """Return the accuracy after so many seconds, interpolated between policies; at most the last one's."""
        for before, after in itertools.pairwise(self.points):
            if before.seconds <= seconds < after.seconds:
                share = (seconds - before.seconds) / (after.seconds - before.seconds)
                return before.accuracy + share * (after.accuracy - before.accuracy)
        return self.points[-1].accuracy


async def measure(folder: Path, seeds: int, every: int, overrides: Sequence[str]) -> list[OrderRun]:
    """Train all runs, then evaluate their checkpoints."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    base = configuration("uniform", 0, every, overrides)
    runs = []
    async with LocalStack(base.model_path, arguments=OPTIONS, niceness=BACKGROUND) as stack:  # as in `deepmath train`
        address = f"generators=['{stack.generator}']"
        plans = [configuration(order, seed, every, [*overrides, address]) for seed in range(seeds) for order in ORDERS]
        for config in plans:
            await train(config, run_folder(folder, config))
        tests = load_problems(base.evaluation.data, seed=0, most=base.evaluation.problems)
        with Verifier(base.reward.verify_workers, base.reward.verify_seconds) as verifier:
            for config in plans:
                runs.append(await evaluated(config, run_folder(folder, config), tests, verifier))
                print(runs[-1], flush=True)
    return runs


def configuration(order: str, seed: int, every: int, overrides: Sequence[str]) -> TrainConfig:
    settings = (f"curriculum.order={order}", f"seed={seed}", f"checkpoint.every={every}", "checkpoint.keep=1000")
    return parse_config(read_recipe("tiny-math"), [*overrides, *settings, "report_to=[]"])


async def train(config: TrainConfig, folder: RunFolder) -> None:
    """Train a run, or resume it, unless it is done."""
    if folder.read_state().status == "done":
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_config(config.to_yaml())
    await run_module(WORKER, folder)


def run_folder(folder: Path, config: TrainConfig) -> RunFolder:
    return RunFolder(folder / f"{config.curriculum.order}-{config.seed}")


async def evaluated(
    config: TrainConfig, folder: RunFolder, tests: Sequence[DatasetProblem], verifier: Verifier
) -> OrderRun:
    """Evaluate the checkpoints of a run by one sample per test problem."""
    lines = [line["metrics"] for line in folder.read_metrics()]
    seconds = list(itertools.accumulate(line["step_seconds"] for line in lines))
    replicas = GeneratorReplicas(
        config.generators, run=f"{folder.name}-{secrets.token_hex(4)}", check=partial(check_generator, config)
    )
    await replicas.start(0)
    try:
        points = [Point(0, 0.0, folder.read_evaluation()["before"]["accuracy"])]
        for checkpoint in CheckpointStore(folder.checkpoints, 1000).all():
            await replicas.publish(checkpoint.path, checkpoint.step)
            figures = await evaluate_policy(config, tests, replicas, verifier)
            points.append(Point(checkpoint.step, round(seconds[checkpoint.step - 1], 1), figures["accuracy"]))
    finally:
        await replicas.close()
    return OrderRun(config.curriculum.order, config.seed, points, [int(line["flat_groups"]) for line in lines])


def summary(runs: Sequence[OrderRun]) -> dict[str, Any]:
    """Return means over the runs: by order, and at the steps and times of the uniform order's policies."""
    by_order = {order: [run for run in runs if run.order == order] for order in ORDERS}
    flat = {
        order: round(statistics.fmean(itertools.chain.from_iterable(run.flat_groups for run in own)), 2)
        for order, own in by_order.items()
    }
    seconds = {
        order: round(statistics.fmean(run.points[-1].seconds for run in own), 1) for order, own in by_order.items()
    }
    steps, times = [], []
    for at, point in enumerate(by_order["uniform"][0].points):
        accuracies = {order: mean(run.points[at].accuracy for run in own) for order, own in by_order.items()}
        steps.append({"step": point.step} | accuracies)
        time = statistics.fmean(run.points[at].seconds for run in by_order["uniform"])
        accuracies = {order: mean(run.accuracy_at(time) for run in own) for order, own in by_order.items()}
        times.append({"seconds": round(time, 1)} | accuracies)
    return {"flat_groups": flat, "seconds": seconds, "at_equal_steps": steps, "at_equal_time": times}


def mean(values: Any) -> float:
    return round(statistics.fmean(values), 4)


def draw(runs: Sequence[OrderRun], path: Path) -> None:
    """Plot accuracy over steps and over seconds, and flat groups, a thin line for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4), layout="constrained")
    by_step, by_time, flat = figure.subplots(1, 3)
    for run in runs:
        colour = COLOURS[ORDERS.index(run.order)]
        look = {"color": colour, "alpha": 0.7, "label": None if run.seed else run.order}
        accuracies = [point.accuracy for point in run.points]
        by_step.plot([point.step for point in run.points], accuracies, "o-", **look)
        by_time.plot([point.seconds for point in run.points], accuracies, "o-", **look)
        windows = [run.flat_groups[max(0, at - 9) : at + 1] for at in range(len(run.flat_groups))]
        flat.plot(range(1, len(windows) + 1), [statistics.fmean(window) for window in windows], **look)
    by_step.set(title="Accuracy at equal steps", xlabel="optimizer step", ylabel="accuracy on test problems")
    by_time.set(title="Accuracy at equal time", xlabel="seconds of training", ylabel="accuracy on test problems")
    flat.set(title="Groups without an advantage", xlabel="optimizer step", ylabel="groups, mean of 10 steps")
    for ax in (by_step, by_time, flat):
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="Runs in each order.")
    parser.add_argument("--every", type=int, default=15, metavar="STEPS", help="Steps between evaluated policies.")
    parser.add_argument("--folder", type=Path, help="Folder of the runs. Default: a temporary one.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="Override a setting.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deepmath-curriculum-") as temporary:
        folder = options.folder or Path(temporary)
        runs = asyncio.run(measure(folder, options.seeds, options.every, options.set))
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    results = summary(runs) | {"runs": [asdict(run) for run in runs], "machine": machine}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    draw(runs, PLOT)
    print(json.dumps(summary(runs), indent=1))


if __name__ == "__main__":
    main()
