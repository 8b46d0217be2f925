"""The figures of a configuration on a benchmark, and how they are counted.

A sample that failed by a fault of ours is none. One whose verdict took too long has a length and snippets but neither
a score nor a vote. Both are counted apart. A problem with fewer verdicts than k is scored by those it has; how many
there are of these is told as well.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deepmath.evaluation.answer_classes import RIGHT, Judged
from deepmath.evaluation.estimators import Estimate, estimate, pass_at_k, percentile
from deepmath.evaluation.majority_curve import majority_curve
from deepmath.evaluation.sample_records import SampleRecord

_NO_FAULT_OF_THE_SNIPPET = "SANDBOX_FAILED"


@dataclass(frozen=True)
class OutputLengths:
    """Tokens of a sample: the mean with its interval, and percentiles over all samples."""

    mean: Estimate
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class SummaryStatistics:
    """Of one configuration on one benchmark. Shares are from 0 to 1."""

    configuration: str
    benchmark: str
    problems: int
    """With a verdict at least."""
    samples: int
    """That ended, with a verdict or without."""
    unjudged: int
    """Samples whose comparison with the right answer took too long."""
    lost: int
    """Samples that failed by faults of ours, and that there are none of."""
    failures: int
    """How often a sample failed by a fault of ours, made up for or not."""
    judged: tuple[int, ...]
    """Samples with a verdict, of each problem."""
    tied: int
    """Problems where the right answer shares the most votes of all samples with others, and gets its part."""
    mean: Estimate
    """Share of right samples: mean@k, for every k."""
    pass_at: tuple[Estimate, ...]
    """pass@1, pass@2, ... up to all samples."""
    majority_at: tuple[Estimate, ...]
    """majority@1, majority@2, ... up to all samples."""
    tokens: OutputLengths
    model_tokens: OutputLengths
    tool_tokens: OutputLengths
    lengths: tuple[int, ...]
    """Tokens of each sample, the model's and the tools', ascending."""
    snippets: Estimate
    """Snippets of a sample."""
    outcomes: dict[str, int]
    """Snippets by what became of them, most first."""
    statuses: dict[str, int]
    """Samples by why they ended, most first."""

    @property
    def drawn(self) -> int:
        """The largest k."""
        return len(self.majority_at)

    @property
    def failure_rate(self) -> float | None:
        """Share of the snippets that failed by their own fault; None where there are no snippets."""
        run = sum(count for outcome, count in self.outcomes.items() if outcome != _NO_FAULT_OF_THE_SNIPPET)
        return 1 - self.outcomes.get("OK", 0) / run if run else None

    def short_of(self, k: int) -> int:
        """Return how many problems have fewer than `k` verdicts."""
        return sum(count < k for count in self.judged)


def figures(record: SampleRecord, problems: Sequence[Judged]) -> SummaryStatistics:
    """Return the figures of `record`, whose judged problems are `problems`.

    Raises:
        ValueError: there are no problems.
    """
    curves = [majority_curve(problem.classes, RIGHT) for problem in problems]
    drawn = record.drawn
    every_k = range(1, drawn + 1)
    return SummaryStatistics(
        configuration=record.configuration,
        benchmark=record.benchmark,
        problems=len(problems),
        samples=len(record.samples),
        unjudged=sum(sample.correct is None for sample in record.samples),
        lost=record.lost,
        failures=record.failures,
        judged=tuple(len(problem.right) for problem in problems),
        tied=sum(0 < problem.vote(drawn).credit < 1 for problem in problems),
        mean=estimate([sum(problem.right) / len(problem.right) for problem in problems]),
        pass_at=tuple(estimate([_pass(problem, k) for problem in problems]) for k in every_k),
        majority_at=tuple(estimate([curve[min(k, len(curve)) - 1] for curve in curves]) for k in every_k),
        tokens=_lengths(record, [sample.model_tokens + sample.tool_tokens for sample in record.samples]),
        model_tokens=_lengths(record, [sample.model_tokens for sample in record.samples]),
        tool_tokens=_lengths(record, [sample.tool_tokens for sample in record.samples]),
        lengths=tuple(sorted(sample.model_tokens + sample.tool_tokens for sample in record.samples)),
        snippets=_mean(record, [len(sample.snippets) for sample in record.samples]),
        outcomes=_counted(snippet["outcome"] for sample in record.samples for snippet in sample.snippets),
        statuses=_counted(sample.status for sample in record.samples),
    )


def _pass(problem: Judged, k: int) -> float:
    return pass_at_k(sum(problem.right), len(problem.right), min(k, len(problem.right)))


def _mean(record: SampleRecord, values: Sequence[int]) -> Estimate:
    """Return the mean over problems of the mean over each one's samples."""
    by_problem: dict[str, list[int]] = {}
    for sample, value in zip(record.samples, values, strict=True):
        by_problem.setdefault(sample.problem_id, []).append(value)
    return estimate([sum(own) / len(own) for _, own in sorted(by_problem.items())])


def _lengths(record: SampleRecord, tokens: Sequence[int]) -> OutputLengths:
    ordered = sorted(tokens)
    return OutputLengths(_mean(record, tokens), *(percentile(ordered, share) for share in (0.5, 0.9, 0.99)))


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda one: (-one[1], one[0])))
