"""Requests to OpenAI's API of the gateway over the shared engine."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from deepmath_gateway.openai.served_models import AGENT

QUESTION = "What is the greatest common divisor of 84 and 126?"
CHAT = "tiny-math"


@pytest.fixture
async def openai_http(full_gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with full_gateway.client() as client:
        yield client


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
