"""Attribution of what happens in a sandbox: whatever an answer can cause is incorrect, only our failures are not."""

import asyncio

import pytest

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.grading.comparison_sandbox import ComparisonSandbox
from deepmath.grading.pair_judge import PairJudge
from deepmath.grading.verdict import Reason

SAME = pb.SnippetResult(outcome=pb.OUTCOME_OK, value="'SAME_VALUE'")
DIFFERENT = pb.SnippetResult(outcome=pb.OUTCOME_OK, value="'DIFFERENT'")
UNREADABLE = pb.SnippetResult(outcome=pb.OUTCOME_OK, value="'GOLD_UNREADABLE'")
CPU, WALL, MEMORY, KILLED, CRASHED, VIOLATION, OUTPUT, ERROR = (
    pb.SnippetResult(outcome=getattr(pb, f"OUTCOME_{name}"))
    for name in (
        "CPU_TIMEOUT WALL_TIMEOUT OUT_OF_MEMORY SANDBOX_FAILED CRASHED POLICY_VIOLATION OUTPUT_LIMIT EXCEPTION"
    ).split()
)
GONE = Unavailable("no sandbox could be started")


class Scripted(ComparisonSandbox):
    """A sandbox in which pairs and gold answers end in this order."""

    def __init__(self, pairs: list[pb.SnippetResult | Exception], golds: list[pb.SnippetResult | Exception]) -> None:
        self._results = {2: iter(pairs), 1: iter(golds)}

    async def compare(self, *texts: str) -> pb.SnippetResult:
        result = next(self._results[len(texts)])
        if isinstance(result, Exception):
            raise result
        return result


def judge(*pairs: pb.SnippetResult | Exception, gold: pb.SnippetResult | Exception = SAME) -> Reason:
    async def run() -> Reason:
        return (await PairJudge(Scripted(list(pairs), [gold, gold]), 1).judge("x", "y")).reason

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (SAME, Reason.SAME_VALUE),
        (DIFFERENT, Reason.DIFFERENT),
        (pb.SnippetResult(outcome=pb.OUTCOME_OK, value="'ANSWER_UNREADABLE'"), Reason.ANSWER_UNREADABLE),
        (UNREADABLE, Reason.GOLD_UNREADABLE),
        (CPU, Reason.ANSWER_TIMEOUT),
        (MEMORY, Reason.ANSWER_MEMORY),
        (CRASHED, Reason.ANSWER_CRASHED),
        (VIOLATION, Reason.ANSWER_CRASHED),
        (OUTPUT, Reason.ANSWER_CRASHED),
        (ERROR, Reason.ANSWER_CRASHED),
        (pb.SnippetResult(outcome=pb.OUTCOME_OK, value="'SAME_TEXT'"), Reason.ANSWER_CRASHED),
        (pb.SnippetResult(outcome=pb.OUTCOME_OK, value="SAME_VALUE"), Reason.ANSWER_CRASHED),
        (pb.SnippetResult(outcome=pb.OUTCOME_OK), Reason.ANSWER_CRASHED),
    ],
)
def test_sandbox_of_a_good_gold_answer(result: pb.SnippetResult, reason: Reason) -> None:
    assert judge(result) is reason


@pytest.mark.parametrize("result", [CPU, MEMORY, CRASHED, VIOLATION, OUTPUT, ERROR])
@pytest.mark.parametrize(
    ("gold", "reason"),
    [
        (CPU, Reason.GOLD_TOO_COSTLY),
        (MEMORY, Reason.GOLD_TOO_COSTLY),
        (CRASHED, Reason.GOLD_TOO_COSTLY),
        (UNREADABLE, Reason.GOLD_UNREADABLE),
        (GONE, Reason.FAILED),
        (WALL, Reason.FAILED),
    ],
)
def test_gold_answer_is_to_blame_if_it_fails_alone(
    result: pb.SnippetResult, gold: pb.SnippetResult | Exception, reason: Reason
) -> None:
    assert judge(result, gold=gold) is reason
    assert reason.correct is None


@pytest.mark.parametrize("failure", [WALL, KILLED, GONE])
def test_failures_that_may_be_ours_are_tried_again(failure: pb.SnippetResult | Exception) -> None:
    assert judge(failure, SAME) is Reason.SAME_VALUE
    assert judge(failure, CPU) is Reason.ANSWER_TIMEOUT


@pytest.mark.parametrize("failure", [WALL, GONE])
def test_failures_of_ours_give_no_verdict(failure: pb.SnippetResult | Exception) -> None:
    assert judge(failure, failure) is Reason.FAILED


def test_answer_that_is_killed_twice_beside_a_sound_gold_answer_is_to_blame() -> None:
    assert judge(KILLED, KILLED) is Reason.ANSWER_MEMORY
    assert judge(KILLED, KILLED, gold=KILLED) is Reason.FAILED


def test_gold_answer_alone_is_compared_once() -> None:
    async def run() -> None:
        judge = PairJudge(Scripted([CPU, MEMORY], [SAME]), 1)
        assert (await judge.judge("x", "y")).reason is Reason.ANSWER_TIMEOUT
        assert (await judge.judge("x", "z")).reason is Reason.ANSWER_MEMORY
        assert (await judge.judge("x")).reason is Reason.SAME_VALUE

    asyncio.run(run())
