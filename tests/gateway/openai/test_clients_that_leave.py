"""A client that leaves, in a stream or not, ends what runs for it within a second."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from deepmath_gateway.openai.served_models import AGENT
from support.spoken_engine import SpokenEngine, serve_spoken

from gateway.openai.conftest import CHAT, QUESTION, body, until_runs


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", [AGENT, CHAT])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_client_that_leaves_ends_the_engines_requests_within_a_second(spoken, path, model, streams) -> None:
    spoken.engine.stuck_after = 3 if streams else 0
    request, runs = (body(model, n=4), 4) if path.endswith("completions") else ({"model": model, "input": QUESTION}, 1)
    request["stream"] = streams
    if streams:
        async with spoken.http.stream("POST", path, json=request) as response:
            lines = response.aiter_lines()  # the response is closed with it
            await anext(lines)
            await until_runs(spoken.engine, runs)
    else:
        task = asyncio.create_task(spoken.http.post(path, json=request))
        await until_runs(spoken.engine, runs)
        task.cancel()
    await assert_ends_within_a_second(lambda: spoken.engine.running)


async def test_client_that_leaves_ends_the_sandbox_within_a_second(serve_gateway, executor) -> None:
    endless = SpokenEngine(call="<tool_call>\nwhile True:\n    pass\n</tool_call>")
    before = (await executor.get_info()).load.live_sessions
    async with (
        serve_spoken(endless, executor) as generator,
        serve_gateway(generator=generator) as served,
        served.client() as http,
    ):
        async with http.stream("POST", "/v1/chat/completions", json=body(stream=True)) as response:
            lines = response.aiter_lines()
            while "while True" not in await anext(lines):
                pass
            async with asyncio.timeout(20):
                while not (await executor.get_info()).load.running_snippets:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        async def sessions() -> int:
            return (await executor.get_info()).load.live_sessions - before

        await assert_ends_within_a_second(sessions)


async def assert_ends_within_a_second(count: Callable[[], Any]) -> None:
    """Check that what `count` returns is 0 within a second, which its own calls may lengthen."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with asyncio.timeout(20):
        while await left if inspect.isawaitable(left := count()) else left:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert loop.time() - start < 1
