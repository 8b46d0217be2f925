"""The vote of Solve: equal answers vote together, hostile ones cost a bounded time, and a missing sandbox is said."""

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from deepmath_generator import answer_vote
from deepmath_generator.answer_vote import AnswerVote
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.inference_engine import FinishReason, SampledTokens
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_generator.service import GeneratorServicer
from support.scripted_engine import ScriptedEngine

from deepmath.errors import Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL

# Equal expressions, which only a symbolic comparison can tell.
DOUBLE, PRODUCT = r"\sin(2x)", r"2\sin x\cos x"


@pytest.fixture
async def vote() -> AsyncIterator[AnswerVote]:
    vote = AnswerVote(10.0)
    yield vote
    vote.close()


def counts(vote: pb.Vote) -> list[tuple[str, int]]:
    return [(count.answer, count.votes) for count in vote.counts]


async def test_equal_expressions_vote_together(vote: AnswerVote) -> None:
    found = await vote.vote([DOUBLE, "7", "", PRODUCT, "0.5", "1/2", "1/2", r"\frac{2}{4}", PRODUCT])
    assert counts(found) == [("1/2", 4), (PRODUCT, 3), ("7", 1)]
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
        found = [await vote.vote(["1/2", "0.5", DOUBLE, PRODUCT]) for _ in range(3)]
    assert [(counts(one), one.exact_only) for one in found] == [([("1/2", 2), (DOUBLE, 1), (PRODUCT, 1)], True)] * 3
    assert caplog.text.count("the layer landlock is missing") == 1
    assert NoSandbox.started == 1


async def test_closed_vote_compares_exactly(vote: AnswerVote) -> None:
    vote._retry_at = float("inf")  # as after `close`
    assert (await vote.vote([DOUBLE, PRODUCT])).exact_only


class SpellingEngine(ScriptedEngine):
    """Answers each sample with the next spelling."""

    def __init__(self, *spellings: str) -> None:
        super().__init__()
        self._spellings = iter(spellings)

    async def generate(self, prompt_ids: list[int], sampling: object, **_: Any) -> SampledTokens:
        ids = self.tokenizer.encode(f"It is \\boxed{{{next(self._spellings)}}}.<|im_end|>", add_special_tokens=False)
        async with self.policies.segment() as policy:
            return SampledTokens(ids, [-0.5] * len(ids), FinishReason.END_OF_TURN, policy.version)


class Call:
    """The context of a call that nobody cancels."""

    def add_done_callback(self, callback: object) -> None:
        pass


async def test_solve_ends_with_the_vote_over_equal_answers() -> None:
    config = GeneratorConfig(model=str(EMBEDDED_MODEL), vote_seconds=10.0)
    engine = SpellingEngine(DOUBLE, "7", PRODUCT, "7.0", PRODUCT)
    servicer = GeneratorServicer(config, engine, None, PromptTemplate.load(config.model))
    try:
        request = pb.SolveRequest(question="What?", samples=5, mode=pb.MODE_PLAIN)
        received = [event async for event in servicer.Solve(request, Call())]
    finally:
        servicer.close()
    assert received[-1].vote.answer == PRODUCT
    assert counts(received[-1].vote) == [(PRODUCT, 3), ("7", 2)]
