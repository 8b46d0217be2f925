"""The curriculum: which problems each batch has, by their estimated pass rates or in uniform order.

By pass rate, the problems of a batch are a weighted sample without replacement. A problem with pass rate p has weight
p (1 - p), the variance of a sample's correctness (Foster and Foerster 2025, Learning to Reason at the Frontier of
Learnability). A share of the weight, `floor`, is spread evenly over all problems: otherwise no improvement of hopeless
ones and no regression of easy ones would be seen.

Batch i is a function of the seed and of the batches before i alone. Those are complete when batch i is started, at
either staleness, and all processes have each other's counts of them.

The pools are a summary. A problem is easy if a group of its samples is more likely than not all correct, hopeless if
it is more likely than not all incorrect, and otherwise in reach.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any

from deepmath.data.dataset_problem import DatasetProblem
from deepmath_trainer.pass_rates import PassCount, PassRates, kind_of, pass_rate
from deepmath_trainer.problem_order import ProblemOrder
from deepmath_trainer.run_config import TrainConfig

_LEAST_WEIGHT = 1e-9  # of a pass rate that is 0 or 1 to the last digit


class Curriculum:
    """The problems of the batches, for all processes of a run.

    It keeps what was known before the two latest batches: a checkpoint may be written when one has just been observed.
    """

    def __init__(self, config: TrainConfig, problems: Sequence[DatasetProblem]) -> None:
        self._problems, self._seed, self._samples = problems, config.seed, config.rollout.samples
        self._by_pass_rate, self._floor = config.curriculum.order == "pass_rate", config.curriculum.floor
        self._order = ProblemOrder(len(problems), config.seed)
        self._places = config.rollout.groups * (config.rollout.resample_flat + 1)
        self._digests = [problem.digest for problem in problems]
        self._kinds = [kind_of(problem) for problem in problems]
        self._kind_by_digest = dict(zip(self._digests, self._kinds, strict=True))
        self._before = {0: self._knowledge(PassRates())}

    def problem(self, batch: int, place: int) -> DatasetProblem:
        """Return the problem at `place` of a batch; the batches before it have been observed.

        The first places, as many as the batch has groups, are those of its groups; then come replacements.
        """
        if self._by_pass_rate:
            drawn = self._before[batch].draw(f"{self._seed}:{batch}", self._places, self._floor)
            return self._problems[drawn[place % len(drawn)]]
        (at,) = self._order.indices(batch * self._places + place, 1)
        return self._problems[at]

    def observe(self, batch: int, counts: Sequence[PassCount]) -> None:
        """Learn from all groups of a batch, those of the other processes and the replaced ones included."""
        before = self._before[batch]
        in_order = sorted(counts)  # as with any other number of processes
        known = [(self._kind_by_digest[count.problem], count) for count in in_order]
        self._before = {batch: before, batch + 1: self._knowledge(before.rates.after(known))}

    def metrics(self, batch: int) -> dict[str, float]:
        """Return the pools as shares of the problems, and their mean estimated pass rate, before a batch."""
        rates = self._before[batch].by_problem
        edge = 0.5 ** (1 / self._samples)
        easy, hopeless = (sum(rate >= edge for rate in rates), sum(1 - rate >= edge for rate in rates))
        shares = {"easy": easy, "in_reach": len(rates) - easy - hopeless, "hopeless": hopeless}
        pools = {f"pool_{name}": count / len(rates) for name, count in shares.items()}
        return pools | {"estimated_pass_rate": math.fsum(rates) / len(rates)}

    def state(self, batch: int) -> dict[str, Any]:
        """Return what was known before a batch, as JSON."""
        return self._before[batch].rates.to_json()

    def restore(self, batch: int, state: Mapping[str, Any]) -> None:
        """Continue with `batch`. An empty state, as of a run of an earlier version, knows nothing."""
        self._before = {batch: self._knowledge(PassRates.of(state))}

    def _knowledge(self, rates: PassRates) -> "_Knowledge":
        return _Knowledge(rates, self._digests, self._kinds)


class _Knowledge:
    """Estimates before a batch, and what is derived from them when it is needed."""

    def __init__(self, rates: PassRates, digests: Sequence[str], kinds: Sequence[tuple[str, ...]]) -> None:
        self.rates, self._digests, self._kinds = rates, digests, kinds
        self._drawn: list[int] = []

    @cached_property
    def by_problem(self) -> list[float]:
        """The estimated pass rate of each problem."""
        shared = {kind: self.rates.log_odds(*kind) for kind in set(self._kinds)}
        pairs = zip(self._kinds, self._digests, strict=True)
        return [pass_rate(shared[kind] + self.rates.log_odds(digest)) for kind, digest in pairs]

    def draw(self, seed: str, count: int, floor: float) -> list[int]:
        """Return `count` different problems, or all, in random order by weight. Later calls return the same.

        The method is that of Efraimidis and Spirakis (2006), Weighted random sampling with a reservoir.
        """
        if not self._drawn:
            weights = [max(rate * (1 - rate), _LEAST_WEIGHT) for rate in self.by_problem]
            even, scale = floor / len(weights), (1 - floor) / math.fsum(weights)
            random = Random(seed)  # a string seeds by its SHA-512, the same in every process
            keys = [math.log(1 - random.random()) / (even + scale * weight) for weight in weights]
            self._drawn = heapq.nlargest(count, range(len(keys)), key=keys.__getitem__)
        return self._drawn
