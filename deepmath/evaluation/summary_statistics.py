"""Summary statistics of one configuration on one benchmark.

A sample with an infrastructure failure does not exist here. A sample without a verdict has a length and snippets, but
neither a score nor a vote. Both are counted separately. A problem with fewer than k verdicts is scored by
those it has; the number of such problems is reported as well.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deepmath.evaluation.accuracy_breakdown import GroupAccuracy, by_difficulty, by_family
from deepmath.evaluation.answer_classes import CORRECT_CLASS, JudgedProblem
from deepmath.evaluation.estimators import Estimate, bootstrap_mean, pass_at_k, percentile
from deepmath.evaluation.majority_curve import majority_curve
from deepmath.evaluation.sample_sets import SampleSet

_INFRASTRUCTURE_OUTCOME = "SANDBOX_FAILED"


@dataclass(frozen=True)
class OutputLengths:
    """Tokens per sample: the mean over problems with its interval, and percentiles over all samples."""

    mean: Estimate
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class SummaryStatistics:
    """Statistics of one configuration on one benchmark. Shares are from 0 to 1."""

    configuration: str
    benchmark: str
    problems: int
    """Problems with at least one verdict."""
    samples: int
    """Completed samples, with or without a verdict."""
    unjudged: int
    """Samples without a verdict."""
    lost: int
    """Samples missing because of infrastructure failures."""
    failures: int
    """Infrastructure failures, including those that a later attempt made up for."""
    verdict_counts: tuple[int, ...]
    """Samples with a verdict, per problem."""
    tied: int
    """Problems on which the correct answer ties for the most votes of all samples and gets partial credit."""
    mean: Estimate
    """Share of correct samples: mean@k, for every k."""
    score: Estimate | None
    """Mean score by the problems' own scorers (reasoning-gym), which give partial credit; None without them."""
    pass_at: tuple[Estimate, ...]
    """pass@1, pass@2, ... up to all samples."""
    majority_at: tuple[Estimate, ...]
    """majority@1, majority@2, ... up to all samples."""
    tokens: OutputLengths
    model_tokens: OutputLengths
    tool_tokens: OutputLengths
    lengths: tuple[int, ...]
    """Model and tool tokens of each sample, ascending."""
    snippets: Estimate
    """Snippets per sample."""
    outcomes: dict[str, int]
    """Snippets by outcome, most frequent first."""
    statuses: dict[str, int]
    """Samples by final status, most frequent first."""
    reasons: dict[str, int]
    """Samples by the reason of their verdict, most frequent first."""
    difficulties: dict[int, GroupAccuracy]
    """Accuracy by difficulty, ascending; empty if the problems have none."""
    families: dict[str, GroupAccuracy]
    """Accuracy by family, by name; empty if the problems have none."""

    @property
    def max_k(self) -> int:
        """The largest k."""
        return len(self.majority_at)

    @property
    def snippet_failure_rate(self) -> float | None:
        """Share of snippets that failed, infrastructure failures excluded; None if there are no snippets."""
        run = sum(count for outcome, count in self.outcomes.items() if outcome != _INFRASTRUCTURE_OUTCOME)
        return 1 - self.outcomes.get("OK", 0) / run if run else None

    def problems_short_of(self, k: int) -> int:
        """Return the number of problems with fewer than `k` verdicts."""
        return sum(count < k for count in self.verdict_counts)


def summarize(sample_set: SampleSet, problems: Sequence[JudgedProblem]) -> SummaryStatistics:
    """Return the statistics of `sample_set`, whose judged problems are `problems`.

    Raises:
        ValueError: there are no problems.
    """
    samples = sample_set.samples
    curves = [majority_curve(problem.classes, CORRECT_CLASS) for problem in problems]
    max_k = sample_set.max_k
    every_k = range(1, max_k + 1)
    totals = [sample.model_tokens + sample.tool_tokens for sample in samples]
    return SummaryStatistics(
        configuration=sample_set.configuration,
        benchmark=sample_set.benchmark,
        problems=len(problems),
        samples=len(samples),
        unjudged=sum(sample.correct is None for sample in samples),
        lost=sample_set.lost,
        failures=sample_set.failures,
        verdict_counts=tuple(len(problem.correct) for problem in problems),
        tied=sum(0 < problem.vote(max_k).credit < 1 for problem in problems),
        mean=bootstrap_mean([sum(problem.correct) / len(problem.correct) for problem in problems]),
        score=_mean_score(problems),
        pass_at=tuple(bootstrap_mean([_pass_at_k(problem, k) for problem in problems]) for k in every_k),
        majority_at=tuple(bootstrap_mean([curve[min(k, len(curve)) - 1] for curve in curves]) for k in every_k),
        tokens=_output_lengths(sample_set, totals),
        model_tokens=_output_lengths(sample_set, [sample.model_tokens for sample in samples]),
        tool_tokens=_output_lengths(sample_set, [sample.tool_tokens for sample in samples]),
        lengths=tuple(sorted(totals)),
        snippets=_mean_per_problem(sample_set, [len(sample.snippets) for sample in samples]),
        outcomes=_frequencies(snippet["outcome"] for sample in samples for snippet in sample.snippets),
        statuses=_frequencies(sample.status for sample in samples),
        reasons=_frequencies(sample.reason for sample in samples if sample.reason),
        difficulties=by_difficulty(problems),
        families=by_family(problems),
    )


def _mean_score(problems: Sequence[JudgedProblem]) -> Estimate | None:
    means = [sum(problem.scores) / len(problem.scores) for problem in problems if problem.scores]
    return bootstrap_mean(means) if means else None


def _pass_at_k(problem: JudgedProblem, k: int) -> float:
    return pass_at_k(sum(problem.correct), len(problem.correct), min(k, len(problem.correct)))


def _mean_per_problem(sample_set: SampleSet, values: Sequence[int]) -> Estimate:
    """Return the mean over problems of the mean over each problem's samples."""
    by_problem: dict[str, list[int]] = {}
    for sample, value in zip(sample_set.samples, values, strict=True):
        by_problem.setdefault(sample.problem_id, []).append(value)
    return bootstrap_mean([sum(own) / len(own) for _, own in sorted(by_problem.items())])


def _output_lengths(sample_set: SampleSet, tokens: Sequence[int]) -> OutputLengths:
    ordered = sorted(tokens)
    mean = _mean_per_problem(sample_set, tokens)
    return OutputLengths(mean, *(percentile(ordered, share) for share in (0.5, 0.9, 0.99)))


def _frequencies(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda one: (-one[1], one[0])))
