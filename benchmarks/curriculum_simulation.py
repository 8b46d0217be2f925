"""Simulation of the trainer's curriculum: its real code, and a policy whose pass rates are known.

`python -m benchmarks.curriculum_simulation` compares orders of the problems. The log-odds of a problem's pass rate are
the policy's plus those of its family, its difficulty, their combination and its own, all normally distributed; the
policy's rise with every group that is not flat, as it learns from no other. Orders:

    uniform           each problem once per epoch
    pass_rate         `deepmath_trainer.curriculum`
    difficulty_pools  prime-rl's: of each problem the latest mean, weight 0.2 up to 0.25 and above 0.75, otherwise 1
    known             as pass_rate, but with the true pass rates: the best that estimates could do

Data sets: the embedded model's lesson; the same without families and difficulties; 1000 problems for 400 steps; 10 000
with subjects and levels, and large batches. Results: benchmarks/results/curriculum_simulation.json. The learning is a
caricature; `benchmarks.curriculum` trains.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from deepmath_trainer.curriculum import Curriculum
from deepmath_trainer.pass_rates import PassCount, pass_rate
from deepmath_trainer.run_config import TrainConfig

from deepmath.data.dataset_problem import DatasetProblem

RESULTS = Path(__file__).parent / "results" / "curriculum_simulation.json"
SAMPLES = 8
ORDERS = ("uniform", "pass_rate", "difficulty_pools", "known")


@dataclass(frozen=True)
class World:
    """A data set and a policy; spreads are standard deviations in log-odds."""

    problems: int
    families: int
    difficulties: int
    family_spread: float
    difficulty_range: float
    """Between the easiest and the hardest."""
    own_spread: float
    steps: int
    groups: int
    learning: float
    """Gain of the policy by one group with an advantage, in log-odds."""
    start: float = 0.0
    labelled: bool = True
    """Whether the curriculum is given families and difficulties."""


_LESSON = World(4096, 32, 3, 1.5, 2.0, 0.8, steps=90, groups=8, learning=0.008)
WORLDS = {
    "lesson": _LESSON,
    "lesson, unlabelled": replace(_LESSON, labelled=False),
    "small": World(1000, 1, 1, 0, 0, 3.0, steps=400, groups=8, learning=0.0005, start=-0.5, labelled=False),
    "large": World(10_000, 7, 5, 1.0, 4.0, 1.5, steps=200, groups=32, learning=0.0002, start=-1.0),
}


class CurriculumSimulation:
    """One run in one order."""

    def __init__(self, world: World, order: str, seed: int) -> None:
        self.world, self.order, self.policy = world, order, world.start
        self._random = random = Random(f"{seed}")  # of the world, the same for all orders
        families = [random.gauss(0, world.family_spread) for _ in range(world.families)]
        step = world.difficulty_range / max(world.difficulties - 1, 1)
        levels = [world.difficulty_range / 2 - step * level for level in range(world.difficulties)]
        cells = [[family + level + random.gauss(0, 0.7) for level in levels] for family in families]
        places = [
            (random.randrange(world.families), random.randrange(world.difficulties)) for _ in range(world.problems)
        ]
        self.log_odds = [cells[family][level] + random.gauss(0, world.own_spread) for family, level in places]
        self.problems = [self._problem(number, *place) for number, place in enumerate(places)]
        self._latest: dict[int, float] = {}  # for difficulty_pools
        self._orders = Random(f"order:{seed}")
        config = TrainConfig.model_validate(
            {
                "model": "simulated",
                "seed": seed,
                "rollout": {"groups": world.groups, "samples": SAMPLES},
                "optimizer": {"micro_batch": SAMPLES},
                "curriculum": {"order": "pass_rate" if order == "pass_rate" else "uniform"},
            }
        )
        self.curriculum = Curriculum(config, self.problems)

    def run(self) -> dict[str, float]:
        """Train; return the shares of flat groups, overall and in the second half, and the accuracy at the end."""
        flat = [self._step(batch) for batch in range(self.world.steps)]
        rates = [pass_rate(self.policy + own) for own in self.log_odds]
        return {
            "flat": statistics.fmean(flat),
            "flat_second_half": statistics.fmean(flat[len(flat) // 2 :]),
            "accuracy_after": statistics.fmean(rates),
        }

    def _problem(self, number: int, family: int, level: int) -> DatasetProblem:
        labels = (f"family {family}", level) if self.world.labelled else ("", None)
        return DatasetProblem(str(number), f"Problem {number}", "0", None, *labels)

    def _step(self, batch: int) -> float:
        drawn = self._draw(batch)
        counts = []
        for number in drawn:
            rate = pass_rate(self.policy + self.log_odds[number])
            passed = sum(self._random.random() < rate for _ in range(SAMPLES))
            counts.append(PassCount(self.problems[number].digest, passed, SAMPLES))
            self._latest[number] = passed / SAMPLES
        self.curriculum.observe(batch, counts)
        flat = sum(count.passed in (0, SAMPLES) for count in counts)
        self.policy += self.world.learning * (len(counts) - flat)
        return flat / len(counts)

    def _draw(self, batch: int) -> Sequence[int]:
        numbers, groups = range(self.world.problems), self.world.groups
        if self.order == "difficulty_pools":
            weights = [1.0 if 0.25 < self._latest.get(number, 0.5) <= 0.75 else 0.2 for number in numbers]
        elif self.order == "known":
            rates = [pass_rate(self.policy + own) for own in self.log_odds]
            weights = [rate * (1 - rate) for rate in rates]
        else:
            return [int(self.curriculum.problem(batch, place).id) for place in range(groups)]
        return self._orders.choices(numbers, weights, k=groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="Runs of each order.")
    seeds = range(parser.parse_args().seeds)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name, world in WORLDS.items():
        for order in ORDERS:
            runs = [CurriculumSimulation(world, order, seed).run() for seed in seeds]
            means = {figure: round(statistics.fmean(run[figure] for run in runs), 3) for figure in runs[0]}
            results.setdefault(name, {})[order] = means
            print(f"{name}, {order}: {means}", flush=True)
    RESULTS.write_text(json.dumps({"seeds": len(seeds), "worlds": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
