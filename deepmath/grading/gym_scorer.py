"""Scores of answers to problems of reasoning-gym, by its own scorers, in sandboxes.

Theory of operation. The scorers call `eval`, sympy and JSON parsers on what a model wrote, so a score is made like a
comparison: in a locked-down process of its own, forked from a zygote that has loaded the library and made the scorers
of the evaluation or run, with limits of processor time and memory. See `comparison_sandbox` and `code_refusal`. As in
`pair_judge`, what an answer causes is its own fault, and the entry's own answer is the control experiment.
"""

import json
import re
from collections.abc import Collection
from concurrent.futures import Future

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.grading.comparison_sandbox import ComparisonSandbox
from deepmath.grading.gym_entry import GymEntry, GymTask
from deepmath.grading.sandbox_finding import FindingSource, SandboxFinding
from deepmath.grading.verdict import Reason, Verdict
from deepmath.sandbox.isolation.layers import Level
from deepmath.sandbox.preload_set import PreloadSet

MAX_ANSWER_CHARACTERS = 10_000
"""A longer answer gets no score. It is the length of the longest box that is extracted."""

_PROGRAM = "deepmath.grading.sandboxed_scoring"
_NUMBER = re.compile(r"\d(?:\.\d+)?(?:e-\d+)?")
_NO_SCORE = repr("no score")
_ROUNDING = 1e-9  # of a full score, which some scorers sum up
_MOST_CONTROLS = 256  # of some kilobytes each


class ScoringSandbox(ComparisonSandbox):
    """A pool of sandboxes that have the scorers of `tasks`."""

    needs = "reasoning-gym, which scores answers to its problems", "reasoning-gym"

    def __init__(self, tasks: Collection[GymTask], workers: int, timeout_s: float, required_level: Level) -> None:
        super().__init__(workers, timeout_s, required_level)
        self._tasks = sorted((task.name, task.options) for task in tasks)

    def preload(self) -> PreloadSet:
        warm_up = f"import {_PROGRAM} as program\nprogram.prepare({json.dumps(self._tasks)})"
        return PreloadSet(("reasoning_gym", "sympy", "sympy.parsing.sympy_parser", _PROGRAM), warm_up)

    async def score(self, entry: GymEntry, answer: str | None) -> pb.SnippetResult:
        """Return the result of `sandboxed_scoring.reply` in a sandbox of its own."""
        arguments = f"{entry.task.name!a}, {entry.task.options!a}, {entry.pickled!a}, {answer!a}"
        return await self.run(f"import {_PROGRAM} as program\nprogram.reply({arguments})")


class GymScorer:
    """Scores answers to entries of `tasks`. The sandboxes start with the first. From any thread.

    Args:
        tasks: The tasks whose entries can be scored.
        workers: Number of scores at a time.
        timeout_s: Processor time of one score, in seconds.
        required_level: Lowest isolation level to accept.
    """

    def __init__(self, tasks: Collection[GymTask], workers: int, timeout_s: float, required_level: Level) -> None:
        self._tasks = frozenset(tasks)
        self._sandbox = ScoringSandbox(self._tasks, workers, timeout_s, required_level)
        self._findings = FindingSource(workers, _read_score)
        self._controls: dict[GymEntry, Reason] = {}

    def start(self) -> None:
        """Start the sandboxes now if there are tasks.

        Raises:
            Unavailable: reasoning-gym cannot be loaded, or layers of the required level are missing here.
        """
        if self._tasks:
            self._sandbox.start()

    def submit(self, entry: GymEntry, answer: str) -> Verdict | Future[Verdict]:
        """Return the verdict on `answer`, or start the scorer that will find it.

        Raises:
            ValueError: the entry is of another task.
            Unavailable: as for `start`.
        """
        if entry.task not in self._tasks:
            raise ValueError(f"the verifier has no scorer of {entry.task}")
        if len(answer) > MAX_ANSWER_CHARACTERS:
            return Verdict.of(Reason.ANSWER_TOO_LONG, score=0.0)
        if not answer.strip():
            return Verdict.of(Reason.ANSWER_EMPTY, score=0.0)
        self._sandbox.start()
        return self._sandbox.submit(self._judge(entry, answer))

    def close(self) -> None:
        """Kill every sandbox and cancel what was submitted."""
        self._sandbox.close()

    async def _judge(self, entry: GymEntry, answer: str) -> Verdict:
        found = await self._score(entry, answer)
        if not found.may_be_cost:
            score = 0.0 if found.reason is Reason.SCORER_ERROR else found.score
            return Verdict.of(found.reason, found.seconds, score)
        if (control := await self._control(entry)) is Reason.FAILED:
            return Verdict.of(control, found.seconds)
        is_costly = control in (Reason.ANSWER_TIMEOUT, Reason.ANSWER_MEMORY, Reason.ANSWER_CRASHED)
        reason = Reason.GOLD_TOO_COSTLY if is_costly else found.blamed_reason
        return Verdict.of(reason, found.seconds, None if is_costly else 0.0)

    async def _control(self, entry: GymEntry) -> Reason:
        """Return how the score of the entry's own answer ends."""
        if entry not in self._controls:
            reason = (await self._score(entry, None)).blamed_reason
            if reason is Reason.FAILED:
                return reason
            if len(self._controls) >= _MOST_CONTROLS:
                self._controls.clear()
            self._controls[entry] = reason
        return self._controls[entry]

    async def _score(self, entry: GymEntry, answer: str | None) -> SandboxFinding:
        return await self._findings.find(lambda: self._sandbox.score(entry, answer))


def _read_score(value: str) -> tuple[Reason, float | None]:
    """Return the reason and score of what `sandboxed_scoring.reply` returned. Anything else is not a score."""
    if value == _NO_SCORE:
        return Reason.SCORER_ERROR, None
    if not _NUMBER.fullmatch(value) or not 0 <= (score := float(value)) <= 1:
        return Reason.ANSWER_CRASHED, None
    if score > 1 - _ROUNDING:
        return Reason.FULL_SCORE, 1.0
    return (Reason.PARTIAL_SCORE if score else Reason.ZERO_SCORE), score
