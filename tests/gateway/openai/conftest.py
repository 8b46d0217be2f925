"""Requests to OpenAI's API of the gateway over the shared engine."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from deepmath_gateway.openai.served_models import AGENT
from support.spoken_engine import SpokenEngine, SpokenExecutor, serve_spoken

QUESTION = "What is the greatest common divisor of 84 and 126?"
CHAT = SpokenEngine.model


@dataclass
class Spoken:
    """A gateway over a generator with a scripted model, and without processes."""

    engine: SpokenEngine
    executor: SpokenExecutor
    http: httpx.AsyncClient
    url: str
    generator: str


@pytest.fixture
async def spoken(serve_gateway) -> AsyncIterator[Spoken]:
    """The model thinks, calls Python, and answers 42."""
    engine, executor = SpokenEngine(), SpokenExecutor()
    settings = {"temperature": 1.0, "max_trajectories": 4, "max_waiting": 4}
    async with (
        serve_spoken(engine, executor, **settings) as generator,
        serve_gateway(generator=generator) as served,
        served.client() as http,
    ):
        yield Spoken(engine, executor, http, served.url, generator)


def body(model: str = AGENT, question: str = QUESTION, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question}], "seed": 3} | fields


async def complete(http: httpx.AsyncClient, model: str = AGENT, **fields: Any) -> dict[str, Any]:
    response = await http.post("/v1/chat/completions", json=body(model, **fields))
    assert response.status_code == 200, response.text
    return dict(response.json())


async def stream(http: httpx.AsyncClient, path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a stream; for chat completions its end is checked."""
    async with http.stream("POST", path, json=request | {"stream": True}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") async for line in response.aiter_lines() if line.startswith("data: ")]
    if path.endswith("completions"):
        assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


async def until_runs(engine: SpokenEngine, runs: int) -> None:
    async with asyncio.timeout(20):
        while engine.running < runs:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
