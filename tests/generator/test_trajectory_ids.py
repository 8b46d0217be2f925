"""Tokens in, tokens out: the trainer receives the token ids that the engine sampled, in their context."""

import asyncio

import pytest
from deepmath_generator.tool_output import encode_tool_output
from support.token_scoring import QUESTIONS, largest_difference, token_ids

from deepmath.dialects import DIALECTS, OutputPiece
from deepmath.dialects.result_text import render_result
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL

MODEL, TOOL = pb.Segment.SOURCE_MODEL, pb.Segment.SOURCE_TOOL


@pytest.fixture(scope="module")
async def trajectories(solve, two_step) -> list[pb.Trajectory]:
    return await asyncio.gather(*(solve(question, seed=7) for question in QUESTIONS + two_step[:16]))


async def test_model_segments_are_exactly_the_sampled_tokens(solve, recording, two_step) -> None:
    for question in two_step[:8]:
        recording.samples.clear()
        trajectory = await solve(question, seed=3, engine=recording)
        segments = [list(s.token_ids) for s in trajectory.segments if s.source == MODEL]
        assert segments == [sample.token_ids for sample in recording.samples]


async def test_engine_receives_exactly_the_token_ids_so_far(solve, recording, two_step) -> None:
    trajectory = await solve(two_step[0], seed=3, engine=recording)
    expected, so_far = [], list(trajectory.prompt_token_ids)
    for segment in trajectory.segments:
        if segment.source == MODEL:
            expected.append(list(so_far))
        so_far += segment.token_ids
    assert recording.prompts == expected


def shown_output(result) -> list[OutputPiece]:
    return DIALECTS["tool-call"].output(render_result(result), "")


def test_tool_segments_are_exactly_the_results_of_the_snippets(trajectories, engine) -> None:
    shown = 0
    for trajectory in trajectories:
        tools = [list(s.token_ids) for s in trajectory.segments if s.source == TOOL]
        results = [encode_tool_output(engine.tokenizer, shown_output(run.result)) for run in trajectory.snippets]
        for tool, result in zip(tools, results, strict=False):  # a tool segment may end an open call first
            assert tool[-len(result) :] == result
            assert set(tool[: -len(result)]) <= set(engine.tokenizer.encode("\n</tool_call>"))
        shown += len(tools)
    assert shown > 10


def test_model_tokens_and_only_these_have_log_probabilities(trajectories) -> None:
    for segment in (segment for trajectory in trajectories for segment in trajectory.segments):
        assert len(segment.logprobs) == (len(segment.token_ids) if segment.source == MODEL else 0)
        assert all(logprob <= 0 for logprob in segment.logprobs)


def test_token_counts_match_the_segments(trajectories) -> None:
    for trajectory in trajectories:
        counts = {source: sum(len(s.token_ids) for s in trajectory.segments if s.source == source) for source in (1, 2)}
        assert (trajectory.model_tokens, trajectory.tool_tokens) == (counts[MODEL], counts[TOOL])


def test_text_is_the_decoded_segments(trajectories, engine) -> None:
    for trajectory in trajectories:
        assert trajectory.text == "".join(engine.tokenizer.decode(list(s.token_ids)) for s in trajectory.segments)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.2])
async def test_log_probabilities_match_a_second_scoring_of_the_ids(
    solve, temperature: float, record_property, capsys
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    runs = await asyncio.gather(*(solve(question, seed=9, temperature=temperature) for question in QUESTIONS))
    largest = max(largest_difference(model, trajectory, temperature) for trajectory in runs)
    record_property("largest_difference", largest)
    with capsys.disabled():
        print(f" [temperature {temperature}: largest difference {largest:.1e}]", end="")
    assert largest < 1e-3


async def test_streamed_and_unstreamed_trajectories_are_the_same(solve) -> None:
    events: list[pb.SolveResponse] = []
    streamed = await solve(QUESTIONS[0], seed=4, emit=events.append)
    unstreamed = await solve(QUESTIONS[0], seed=4)
    assert token_ids(streamed) == token_ids(unstreamed)
    assert events


async def test_streamed_texts_and_outputs_add_up_to_the_text(solve, two_step) -> None:
    events: list[pb.SolveResponse] = []
    trajectory = await solve(two_step[1], seed=4, emit=events.append)
    model_text = "".join(event.text.text for event in events)
    tool_texts = [f"\n```output\n{event.result.text}\n```\n" for event in events if event.HasField("result")]
    for text in tool_texts:
        assert text in trajectory.text
    assert len(model_text) + sum(map(len, tool_texts)) == len(trajectory.text)


async def test_same_seed_gives_the_same_trajectory(solve) -> None:
    assert token_ids(await solve(QUESTIONS[2], seed=11)) == token_ids(await solve(QUESTIONS[2], seed=11))


async def test_samples_of_one_seed_differ_from_each_other(generator) -> None:
    answers = {
        event.trajectory.text
        async for event in generator.solve(QUESTIONS[3], samples=8, sampling=pb.Sampling(seed=1))
        if event.HasField("trajectory")
    }
    assert len(answers) > 1
