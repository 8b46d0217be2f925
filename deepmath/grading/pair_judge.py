"""Attribution of what happens in a sandbox to the answer, the gold answer or the infrastructure.

An answer must not be able to choose that it gets no verdict, or a policy learns to prefer that to being wrong. So what
the text of an answer causes is incorrect. The gold answer is the control experiment: if a comparison exceeds a limit or
breaks its process, the gold answer is compared with a constant under the same limits. If that goes well, the answer was
the cause. Limits are in processor time and memory of the process itself, which do not depend on the machine's load.
A process killed from outside, as by the kernel's OOM killer, and the wall clock may be our failure: the comparison is
tried again. If it is killed again while the gold answer passes, the answer is the cause. Otherwise there is no verdict.
"""

from deepmath.grading.comparison_sandbox import ComparisonSandbox
from deepmath.grading.sandbox_finding import FindingSource, SandboxFinding
from deepmath.grading.verdict import Reason, Verdict

# The words that a sandbox may return as the `repr` of its value. Whatever else it returns is not a verdict.
_WORDS = {
    repr(reason.name): reason
    for reason in (Reason.SAME_VALUE, Reason.DIFFERENT, Reason.ANSWER_UNREADABLE, Reason.GOLD_UNREADABLE)
}
_MOST_CONTROLS = 4096


class PairJudge:
    """Judges pairs in closed LaTeX, at most `workers` at a time."""

    def __init__(self, sandbox: ComparisonSandbox, workers: int) -> None:
        self._sandbox = sandbox
        self._findings = FindingSource(workers, lambda value: (_WORDS.get(value, Reason.ANSWER_CRASHED), None))
        self._controls: dict[str, Reason] = {}

    async def judge(self, gold: str, answer: str | None = None) -> Verdict:
        """Return the verdict on a pair; without an answer SAME_VALUE if answers can be compared with `gold`."""
        if answer is None:
            return await self._judge_gold(gold)
        found = await self._compare(gold, answer)
        reason = found.blamed_reason
        if found.may_be_cost:
            control = (await self._judge_gold(gold)).reason
            reason = reason if control is Reason.SAME_VALUE else control
        return Verdict.of(reason, found.seconds)

    async def _judge_gold(self, gold: str) -> Verdict:
        if gold in self._controls:
            return Verdict.of(self._controls[gold])
        found = await self._compare(gold)
        reason = found.reason
        if reason not in (Reason.SAME_VALUE, Reason.GOLD_UNREADABLE, Reason.FAILED):
            reason = Reason.GOLD_TOO_COSTLY
        if reason is not Reason.FAILED:
            if len(self._controls) >= _MOST_CONTROLS:
                self._controls.clear()
            self._controls[gold] = reason
        return Verdict.of(reason, found.seconds)

    async def _compare(self, *texts: str) -> SandboxFinding:
        return await self._findings.find(lambda: self._sandbox.compare(*texts))
