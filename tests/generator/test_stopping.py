"""A step stops after a call whoever notices its end, the engine or the loop, and the sampled tokens are the same."""

import asyncio
from typing import Any

import pytest
from deepmath_generator import call_reader
from support.token_scoring import QUESTIONS, token_ids

from deepmath.generator.v1 import generator_pb2 as pb


class NeverStops:
    """The shared engine, which samples on after a call unless the loop stops it."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.sampled = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def generate(self, *arguments: Any, stop_token: int | None, **options: Any) -> Any:
        sample = await self._engine.generate(*arguments, **options)
        self.sampled += len(sample.token_ids)
        return sample


@pytest.mark.parametrize("streamed", [False, True])
async def test_tokens_sampled_after_a_call_are_left_out(solve, engine, two_step, streamed: bool) -> None:
    for question in (QUESTIONS[0], two_step[0]):
        events: list[pb.SolveResponse] = []
        never_stops = NeverStops(engine)
        emit = events.append if streamed else None
        stopped = await solve(question, temperature=0.0, seed=4)
        run = await solve(question, temperature=0.0, seed=4, engine=never_stops, emit=emit)
        assert token_ids(run) == token_ids(stopped)
        assert [snippet.code for snippet in run.snippets] == [snippet.code for snippet in stopped.snippets]
        assert run.snippets
        assert never_stops.sampled >= run.model_tokens
        if streamed:
            text = "".join(event.text.text for event in events)
            assert text == "".join(s.text for s in run.segments if s.source == pb.Segment.SOURCE_MODEL)


async def test_marks_of_several_tokens_stop_a_step(solve, engine, two_step, monkeypatch) -> None:
    monkeypatch.setattr(call_reader, "_single_token", lambda tokenizer, text: None)
    never_stops = NeverStops(engine)
    run = await solve(two_step[0], temperature=0.0, seed=4, engine=never_stops)
    assert token_ids(run) == token_ids(await solve(two_step[0], temperature=0.0, seed=4))
    assert never_stops.sampled < run.model_tokens + 10 * len(run.snippets)


async def test_stopped_request_leaves_the_engine(updatable, prompt_ids) -> None:
    sample = await updatable.sample(prompt_ids, max_tokens=400, on_tokens=lambda _: True)
    assert len(sample.token_ids) < 400
    while updatable.engine._llm.output_processor.has_unfinished_requests():  # noqa: ASYNC110 - vLLM has no event
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_short_steps_lose_no_call(solve, two_step, size: int) -> None:
    whole = await solve(two_step[0], temperature=0.0)
    run = await solve(two_step[0], temperature=0.0, max_step_tokens=size, max_steps=1000)
    assert [snippet.code for snippet in run.snippets] == [snippet.code for snippet in whole.snippets]
    assert run.answer == whole.answer
