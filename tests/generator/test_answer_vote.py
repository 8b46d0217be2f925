"""The vote of Solve: equal answers vote together, hostile ones cost a bounded time, and a missing sandbox is said."""

import logging
from collections.abc import AsyncIterator, Sequence

import pytest
from deepmath_generator import answer_vote
from deepmath_generator.answer_vote import AnswerVote

from deepmath.errors import Unavailable
from deepmath.generator.v1 import generator_pb2 as pb


@pytest.fixture
async def vote() -> AsyncIterator[AnswerVote]:
    vote = AnswerVote(10.0)
    yield vote
    vote.close()


def counts(vote: pb.Vote) -> list[tuple[str, int]]:
    return [(count.answer, count.votes) for count in vote.counts]


async def test_equal_expressions_vote_together(vote: AnswerVote) -> None:
    found = await vote.vote(["x+1", "7", "", "1+x", "0.5", "1/2", "1/2", r"\frac{2}{4}", "1+x"])
    assert counts(found) == [("1/2", 4), ("1+x", 3), ("7", 1)]
    assert found.answer == "1/2"
    assert not found.exact_only


@pytest.mark.parametrize("answers", [[], ["", ""], ["x+1"], ["x+1", "x+1", ""]])
async def test_one_answer_needs_no_sandbox(
    vote: AnswerVote, answers: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_vote, "Verifier", None)
    found = await vote.vote(answers)
    assert counts(found) == ([("x+1", answers.count("x+1"))] if any(answers) else [])
    assert not found.exact_only


class NoSandbox:
    """A verifier on a machine that lacks isolation layers."""

    started = 0

    def __init__(self, *_: object) -> None:
        type(self).started += 1

    def verify(self, pairs: object) -> list[object]:
        raise Unavailable("the layer landlock is missing")

    def close(self) -> None:
        pass


async def test_without_a_sandbox_numbers_and_texts_are_compared_and_the_vote_says_so(
    vote: AnswerVote, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(answer_vote, "Verifier", NoSandbox)
    with caplog.at_level(logging.WARNING):
        found = [await vote.vote(["1/2", "0.5", "x+1", "1+x"]) for _ in range(3)]
    assert [(counts(one), one.exact_only) for one in found] == [([("1/2", 2), ("x+1", 1), ("1+x", 1)], True)] * 3
    assert caplog.text.count("the layer landlock is missing") == 1
    assert NoSandbox.started == 1


async def test_closed_vote_compares_exactly(vote: AnswerVote) -> None:
    vote._retry_at = float("inf")  # as after `close`
    assert (await vote.vote(["x+1", "1+x"])).exact_only
