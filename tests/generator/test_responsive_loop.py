"""The event loop runs on while long texts are processed, and between the turns of trajectories."""

import asyncio
from functools import partial
from typing import Any

import pytest
from deepmath_generator.chat_prompt import encode_chat
from deepmath_generator.responsive_loop import ResponsiveLoop
from support.played_engine import AnyTokenizer, PlayedEngine, play

from deepmath.generator.v1 import generator_pb2 as pb


async def iterations(awaited: asyncio.Task[Any]) -> int:
    """Return how many iterations the event loop makes until the task is done."""
    count = 0
    while not awaited.done():
        await asyncio.sleep(0)
        count += 1
    return count


async def test_turns_are_in_iterations_of_their_own() -> None:
    responsive, order = ResponsiveLoop(), []

    async def take(number: int) -> None:
        async with responsive.turn():
            order.append(number)

    async def watch() -> None:
        while len(order) < 8:
            seen = len(order)
            await asyncio.sleep(0)
            assert len(order) - seen <= 1

    await asyncio.gather(watch(), *map(take, range(8)))
    assert order == list(range(8))


async def test_turn_that_fails_or_is_cancelled_is_over() -> None:
    responsive = ResponsiveLoop()
    with pytest.raises(ValueError, match="no"):
        async with responsive.turn():
            raise ValueError("no")
    waiting = asyncio.create_task(responsive.turn().__aenter__())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5), responsive.turn():
        pass


@pytest.mark.parametrize("text", ["one two 3 ", "<|im_end|>", "\\boxed{", "a"])
async def test_encoding_a_long_chat_leaves_the_loop_free(tokenizer: Any, text: str) -> None:
    content = text * ((500 << 10) // len(text))
    messages = [pb.ChatMessage(role=pb.ChatMessage.ROLE_USER, content=content)]
    responsive = ResponsiveLoop()
    encoding = asyncio.create_task(responsive.process(partial(encode_chat, tokenizer, messages), len(content)))
    assert await iterations(encoding) > 10
    assert len(encoding.result()) > 50_000


@pytest.mark.parametrize("unit", ["\\boxed{", "{", "<think>", "<tool_call>\n```\n"])
async def test_hostile_trajectory_leaves_the_loop_free(unit: str) -> None:
    tokenizer = AnyTokenizer()
    tokens = [tokenizer.token(unit.encode() * 10)] * 5000
    run = asyncio.create_task(play(PlayedEngine(tokenizer, tokens), max_step_tokens=3000, max_tokens=10_000))
    assert await iterations(run) > 10
    trajectory, _ = run.result()
    assert trajectory.answer == ""
