"""Ids, mask and log-probabilities through the gateway are those of the generator, with the real engine."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deepmath.generator.v1 import generator_pb2 as pb
from gateway.openai.conftest import QUESTION, body, complete, stream

MODEL = pb.Segment.SOURCE_MODEL


@pytest.fixture
async def http(full_gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with full_gateway.client() as client:
        yield client


async def rolled_out(generator, seed: int) -> pb.Trajectory:
    prompts = [pb.RolloutPrompt(question=QUESTION, seed=seed)]
    (response,) = [response async for response in generator.rollout(prompts)]
    return response.trajectory


@pytest.mark.parametrize("seed", [0, 3, 12345])
@pytest.mark.parametrize("streams", [False, True])
async def test_tokens_mask_and_logprobs_are_those_of_rollout(http, generator, seed: int, streams: bool) -> None:
    trajectory = await rolled_out(generator, seed)
    request = body(seed=seed, return_token_ids=True, logprobs=True)
    if streams:
        *_, last = await stream(http, "/v1/chat/completions", request)
        prompt_ids, choice = last["prompt_token_ids"], last["choices"][0]
    else:
        completion = await complete(http, **request)
        prompt_ids, choice = completion["prompt_token_ids"], completion["choices"][0]
    assert prompt_ids == list(trajectory.prompt_token_ids)
    assert_same_tokens(choice, trajectory)
    assert choice["answer"] == trajectory.answer


def assert_same_tokens(choice: dict[str, Any], trajectory: pb.Trajectory) -> None:
    sampled = [segment.source == MODEL for segment in trajectory.segments for _ in segment.token_ids]
    logprobs = [value for segment in trajectory.segments for value in segment.logprobs]
    assert choice["token_ids"] == [token for segment in trajectory.segments for token in segment.token_ids]
    assert choice["token_mask"] == [int(one) for one in sampled]
    assert [value for value in choice["token_logprobs"] if value is not None] == logprobs
    assert [value is not None for value in choice["token_logprobs"]] == sampled
    assert [one["policy_version"] for one in choice["segments"] if one["source"] == "model"] == [
        segment.policy_version for segment in trajectory.segments if segment.source == MODEL
    ]
    content = choice["logprobs"]["content"]
    assert [one["logprob"] for one in content] == logprobs
    model_text = "".join(segment.text for segment in trajectory.segments if segment.source == MODEL)
    assert "".join(one["token"] for one in content) == model_text


async def test_plain_chat_is_the_generators_chat(http, generator, engine) -> None:
    messages = [pb.ChatMessage(role=pb.ChatMessage.ROLE_USER, content=QUESTION)]
    sampling = pb.Sampling(seed=3, temperature=0.5)
    *_, last = [event async for event in generator.chat(messages, sampling=sampling, max_tokens=40)]
    completion = await complete(
        http, engine.model, temperature=0.5, max_tokens=40, n=2, return_token_ids=True, logprobs=True
    )
    first, second = completion["choices"]
    assert first["token_ids"] == list(last.end.segment.token_ids)
    assert first["token_logprobs"] == list(last.end.segment.logprobs)
    for choice in (first, second):
        text = engine.tokenizer.decode(choice["token_ids"], skip_special_tokens=False)
        assert "".join(one["token"] for one in choice["logprobs"]["content"]) == text
