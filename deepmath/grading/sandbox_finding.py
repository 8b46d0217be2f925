"""The end of a run in a grading sandbox, as if the answer were its cause."""

from asyncio import Semaphore
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.grading.verdict import Reason

_OUTCOMES = {pb.OUTCOME_CPU_TIMEOUT: Reason.ANSWER_TIMEOUT, pb.OUTCOME_OUT_OF_MEMORY: Reason.ANSWER_MEMORY}
_COSTS = frozenset({Reason.ANSWER_TIMEOUT, Reason.ANSWER_MEMORY, Reason.ANSWER_CRASHED})
_ATTEMPTS = 2

ReadValue = Callable[[str], tuple[Reason, float | None]]
"""Reads the `repr` of the value that a sandbox returned, which is hostile: its reason and score."""


class SandboxFinding(NamedTuple):
    """The end of a run in the sandbox, as if the answer were its cause."""

    reason: Reason
    seconds: float
    score: float | None = None
    killed: bool = False
    """Whether somebody else killed the sandbox, as the kernel's OOM killer does."""

    @property
    def blamed_reason(self) -> Reason:
        """The reason if the answer is the cause: a sandbox that is killed again and again took too much memory."""
        return Reason.ANSWER_MEMORY if self.killed else self.reason

    @property
    def may_be_cost(self) -> bool:
        """Whether a run of the gold answer has to tell if the answer was the cause."""
        return self.blamed_reason in _COSTS


class FindingSource:
    """Makes runs, at most `workers` at a time. One that fails for no fault of the answer is tried again."""

    def __init__(self, workers: int, read: ReadValue) -> None:
        self._slots, self._read = Semaphore(workers), read

    async def find(self, run: Callable[[], Awaitable[pb.SnippetResult]]) -> SandboxFinding:
        """Return how `run`, which may be called twice, ends."""
        for _ in range(_ATTEMPTS):
            finding = await self._find_once(run)
            if finding.reason is not Reason.FAILED:
                break
        return finding

    async def _find_once(self, run: Callable[[], Awaitable[pb.SnippetResult]]) -> SandboxFinding:
        async with self._slots:
            try:
                result = await run()
            except Unavailable:  # the log says why
                return SandboxFinding(Reason.FAILED, 0.0)
        seconds = result.usage.wall_ms / 1e3
        if result.outcome in (pb.OUTCOME_WALL_TIMEOUT, pb.OUTCOME_SANDBOX_FAILED):
            return SandboxFinding(Reason.FAILED, seconds, killed=result.outcome == pb.OUTCOME_SANDBOX_FAILED)
        if result.outcome == pb.OUTCOME_OK:
            reason, score = self._read(result.value)
            return SandboxFinding(reason, seconds, score)
        return SandboxFinding(_OUTCOMES.get(result.outcome, Reason.ANSWER_CRASHED), seconds)
