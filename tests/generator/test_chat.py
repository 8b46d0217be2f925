"""Chats over gRPC: end of the turn, usage, cancellation, and rejected requests."""

import asyncio
from typing import Any

import pytest

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

SYSTEM, USER, ASSISTANT = pb.ChatMessage.ROLE_SYSTEM, pb.ChatMessage.ROLE_USER, pb.ChatMessage.ROLE_ASSISTANT
NO_ROLE = pb.ChatMessage.ROLE_UNSPECIFIED
GREEDY = pb.Sampling(temperature=0)


def message(role: "pb.ChatMessage.Role.ValueType", content: str) -> pb.ChatMessage:
    return pb.ChatMessage(role=role, content=content)


QUESTION = [message(SYSTEM, "Use Python."), message(USER, "What is the greatest common divisor of 84 and 126?")]


async def turn(generator, messages=QUESTION, **options) -> tuple[str, pb.ChatEnd]:
    events = [event async for event in generator.chat(messages, **{"sampling": GREEDY} | options)]
    assert [event.WhichOneof("event") for event in events] == ["text"] * (len(events) - 1) + ["end"]
    return "".join(event.text.text for event in events[:-1]), events[-1].end


async def test_turn_is_streamed_and_its_usage_counts_prompt_and_turn(generator, engine) -> None:
    text, end = await turn(generator, max_tokens=400)
    prompt = engine.tokenizer.apply_chat_template(
        [{"role": "system", "content": "Use Python."}, {"role": "user", "content": QUESTION[1].content}],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert end.usage.input_tokens == len(engine.tokenizer.encode(prompt, add_special_tokens=False))
    assert text.startswith("<tool_call>")
    assert "<|im_end|>" not in text
    assert end.reason == pb.ChatEnd.REASON_END_OF_TURN
    assert end.usage.output_tokens == len(engine.tokenizer.encode(text, add_special_tokens=False)) + 1


async def test_turn_ends_before_a_stop_sequence_of_any_number_of_tokens(generator) -> None:
    whole, _ = await turn(generator)
    first = whole.split("math.gcd(")[0]
    text, end = await turn(generator, stop_sequences=["\nnever", "math.gcd("])
    assert (text, end.reason) == (first, pb.ChatEnd.REASON_STOP_SEQUENCE)
    text, end = await turn(generator, stop_sequences=["</tool_call>"])
    assert text == whole.split("</tool_call>")[0]


async def test_turn_ends_at_max_tokens(generator) -> None:
    _, end = await turn(generator, max_tokens=3)
    assert (end.reason, end.usage.output_tokens) == (pb.ChatEnd.REASON_LENGTH, 3)


async def test_turn_ends_at_the_context_length(generator, engine) -> None:
    long = [message(USER, "12 " * (engine.context_length // 3 - 5))]
    _, end = await turn(generator, long)
    assert end.reason == pb.ChatEnd.REASON_LENGTH
    assert end.usage.input_tokens + end.usage.output_tokens == engine.context_length


async def test_same_seed_gives_the_same_turn(generator) -> None:
    sampling = pb.Sampling(temperature=1.5, seed=7)
    turns = [(await turn(generator, sampling=sampling, max_tokens=40))[0] for _ in range(2)]
    assert turns[0] == turns[1]


async def test_chat_continues_after_the_models_own_turn(generator) -> None:
    first, _ = await turn(generator)
    _, end = await turn(
        generator, [*QUESTION, message(ASSISTANT, first), message(USER, "And of 8 and 12?")], max_tokens=8
    )
    assert end.usage.input_tokens > 2 * len(QUESTION[1].content) / 4


async def test_cancelled_chat_aborts_its_request(generator, engine) -> None:
    chat = generator.chat(QUESTION, sampling=pb.Sampling(temperature=2, seed=1))
    await anext(chat)
    await chat.aclose()
    async with asyncio.timeout(10):
        while engine._llm.get_num_unfinished_requests() or (await generator.get_info()).live_trajectories:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"messages": []}, "messages: 0"),
        ({"messages": [message(USER, "1")] * 1025}, "messages: 1025"),
        ({"messages": [message(USER, " ")]}, "messages are all empty"),
        ({"messages": [message(USER, "1"), message(NO_ROLE, "1")]}, r"messages\[1\]\.role is 0"),
        ({"messages": [message(USER, "x" * (600 << 10))]}, "messages have 614400 bytes"),
        ({"messages": [message(USER, "12 " * 5000)]}, "messages makes? a prompt of .* tokens"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"stop_sequences": [""]}, r"stop_sequences\[0\]"),
        ({"stop_sequences": ["x" * 257]}, r"stop_sequences\[0\]: 257"),
        ({"stop_sequences": ["x"] * 17}, "stop_sequences: 17"),
        ({"sampling": pb.Sampling(temperature=-1)}, "sampling.temperature"),
    ],
)
async def test_invalid_field_of_a_chat_is_rejected_by_name(generator, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        await turn(generator, **options)


async def test_usage_in_snippet_events_is_that_of_their_steps(generator) -> None:
    reported = pb.Usage()
    async for event in generator.solve(QUESTION[1].content, sampling=GREEDY):
        if event.HasField("snippet"):
            reported.input_tokens += event.snippet.usage.input_tokens
            reported.output_tokens += event.snippet.usage.output_tokens
        if event.HasField("trajectory"):
            ended = event.trajectory
    first, output, last = ended.segments
    assert (reported.input_tokens, reported.output_tokens) == (len(ended.prompt_token_ids), len(first.token_ids))
    context = len(ended.prompt_token_ids) + len(first.token_ids) + len(output.token_ids)
    assert ended.usage.input_tokens == reported.input_tokens + context
    assert ended.usage.output_tokens == reported.output_tokens + len(last.token_ids) == ended.model_tokens
