"""One sampled trajectory with its verdict."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class SampleKey(NamedTuple):
    """The identity of a sample."""

    configuration: str
    benchmark: str
    problem_id: str
    sample: int


@dataclass(frozen=True)
class GradedSample:
    """One trajectory and its verdict. One line of `samples.jsonl`."""

    configuration: str
    """Name of what was evaluated: `Baseline`, `DeepMath`, or a user's own."""
    benchmark: str
    problem_id: str
    sample: int
    """Index among the samples of this problem, from 0."""
    mode: str
    """`plain` or `agent`."""
    gold: str
    answer: str
    correct: bool | None
    """None: there is no verdict, because the gold answer is bad or the comparison failed; see `reason`."""
    status: str
    """Name of the trajectory's `generator.v1.Status`, without its prefix."""
    text: str
    model_tokens: int
    tool_tokens: int
    snippets: list[dict[str, Any]]
    """Of each snippet: `code`, `outcome`, `stdout` and `value`."""
    seconds: float
    reason: str = ""
    """Why the verdict is what it is: a `grading.verdict.Reason`; empty in evaluations by earlier versions."""
    dialect: str = "tool-call"
    """Name of the dialect in which `text` is written."""
    score: float | None = None
    """From 0 to 1, by the problem's own scorer (reasoning-gym); None if the answer was compared with `gold`."""
    family: str = ""
    """The problem's family, subject or task; empty if its dataset has none."""
    difficulty: int | None = None
    """The problem's difficulty; None if its dataset has none."""

    @property
    def key(self) -> SampleKey:
        """The identity of this sample."""
        return SampleKey(self.configuration, self.benchmark, self.problem_id, self.sample)
