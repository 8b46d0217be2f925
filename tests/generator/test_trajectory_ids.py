"""Tokens in, tokens out: what the trainer gets is what the engine sampled, in the context that it sampled it in."""

import asyncio

import pytest
import torch
from deepmath_generator.agent_prompt import encode_tool_output, result_text
from transformers import AutoModelForCausalLM

from deepmath.data.synthetic import generate
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL

QUESTIONS = [problem.problem for problem in generate(32, "test", 1)]
MODEL, TOOL = pb.Segment.SOURCE_MODEL, pb.Segment.SOURCE_TOOL


def ids(trajectory: pb.Trajectory) -> list[int]:
    return [*trajectory.prompt_token_ids, *(token for s in trajectory.segments for token in s.token_ids)]


@pytest.fixture(scope="module")
async def trajectories(solve, two_step) -> list[pb.Trajectory]:
    return await asyncio.gather(*(solve(question, seed=7) for question in QUESTIONS + two_step[:16]))


async def test_model_segments_are_exactly_what_the_engine_sampled(solve, recording, two_step) -> None:
    for question in two_step[:8]:
        recording.samples.clear()
        trajectory = await solve(question, seed=3, engine=recording)
        segments = [list(s.token_ids) for s in trajectory.segments if s.source == MODEL]
        assert segments == [sample.token_ids for sample in recording.samples]


async def test_engine_reads_exactly_the_ids_so_far(solve, recording, two_step) -> None:
    trajectory = await solve(two_step[0], seed=3, engine=recording)
    expected, so_far = [], list(trajectory.prompt_token_ids)
    for segment in trajectory.segments:
        if segment.source == MODEL:
            expected.append(list(so_far))
        so_far += segment.token_ids
    assert recording.prompts == expected


def test_tool_segments_are_exactly_the_results_of_the_snippets(trajectories, engine) -> None:
    shown = 0
    for trajectory in trajectories:
        tools = [list(s.token_ids) for s in trajectory.segments if s.source == TOOL]
        results = [encode_tool_output(engine.tokenizer, result_text(run.result)) for run in trajectory.snippets]
        assert tools == results[: len(tools)]
        shown += len(tools)
    assert shown > 10


def test_every_model_token_has_a_log_probability_and_no_tool_token_has(trajectories) -> None:
    for segment in (segment for trajectory in trajectories for segment in trajectory.segments):
        assert len(segment.logprobs) == (len(segment.token_ids) if segment.source == MODEL else 0)
        assert all(logprob <= 0 for logprob in segment.logprobs)


def test_counts_are_those_of_the_segments(trajectories) -> None:
    for trajectory in trajectories:
        counts = {source: sum(len(s.token_ids) for s in trajectory.segments if s.source == source) for source in (1, 2)}
        assert (trajectory.model_tokens, trajectory.tool_tokens) == (counts[MODEL], counts[TOOL])


def test_text_is_the_decoded_segments(trajectories, engine) -> None:
    for trajectory in trajectories:
        assert trajectory.text == "".join(engine.tokenizer.decode(list(s.token_ids)) for s in trajectory.segments)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.2])
async def test_scoring_the_ids_again_gives_the_log_probabilities(
    solve, temperature: float, record_property, capsys
) -> None:
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    runs = await asyncio.gather(*(solve(question, seed=9, temperature=temperature) for question in QUESTIONS))
    largest = max(largest_difference(model, trajectory, temperature) for trajectory in runs)
    record_property("largest_difference", largest)
    with capsys.disabled():
        print(f" [temperature {temperature}: largest difference {largest:.1e}]", end="")
    assert largest < 1e-3


def largest_difference(model, trajectory: pb.Trajectory, temperature: float) -> float:
    tokens = torch.tensor(ids(trajectory))
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(tokens[None]).logits[0] / temperature, dim=-1)
    at, largest = len(trajectory.prompt_token_ids), 0.0
    for segment in trajectory.segments:
        assert segment.source == TOOL or segment.temperature == pytest.approx(temperature)
        for token, logprob in zip(segment.token_ids, segment.logprobs, strict=False):
            largest = max(largest, abs(logprobs[at - 1, token].item() - logprob))
            at += 1
        at += len(segment.token_ids) if segment.source == TOOL else 0
    return largest


async def test_streamed_and_unstreamed_trajectories_are_the_same(solve) -> None:
    events: list[pb.SolveResponse] = []
    streamed = await solve(QUESTIONS[0], seed=4, emit=events.append)
    unstreamed = await solve(QUESTIONS[0], seed=4)
    assert ids(streamed) == ids(unstreamed)
    assert events


async def test_streamed_texts_and_outputs_make_up_the_text(solve, two_step) -> None:
    events: list[pb.SolveResponse] = []
    trajectory = await solve(two_step[1], seed=4, emit=events.append)
    model_text = "".join(event.text.text for event in events)
    tool_texts = [f"\n```output\n{event.result.text}\n```\n" for event in events if event.HasField("result")]
    for text in tool_texts:
        assert text in trajectory.text
    assert len(model_text) + sum(map(len, tool_texts)) == len(trajectory.text)


async def test_same_seed_alone_in_the_engine_draws_the_same(solve) -> None:
    assert ids(await solve(QUESTIONS[2], seed=11)) == ids(await solve(QUESTIONS[2], seed=11))


async def test_samples_of_one_seed_differ_among_each_other(generator) -> None:
    answers = {
        event.trajectory.text
        async for event in generator.solve(QUESTIONS[3], samples=8, sampling=pb.Sampling(seed=1))
        if event.HasField("trajectory")
    }
    assert len(answers) > 1
