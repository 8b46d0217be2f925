"""Chat completions of a scripted model: text and reasoning, streams, choices, stop sequences, usage and errors."""

import asyncio
import json
from typing import Any

import pytest
from deepmath_gateway.openai.served_models import AGENT
from support.scripted_engine import CODE
from support.secured import add_token

from gateway.openai.conftest import CHAT, QUESTION, body, complete, stream, until_runs

ANSWER = "I compute. The answer is \\boxed{42}."
REASONING = f"Easy.\n```python\n{CODE}\n```\n```output\n42\n```"


async def test_thinking_calls_and_outputs_are_reasoning(spoken) -> None:
    completion = await complete(spoken.http)
    message, usage = completion["choices"][0]["message"], completion["usage"]
    assert (message["content"], message["reasoning"]) == (ANSWER, REASONING)
    assert completion["choices"][0] | {"message": None} == {
        "index": 0,
        "message": None,
        "logprobs": None,
        "finish_reason": "stop",
        "status": "answered",
        "answer": "42",
    }
    encode = spoken.engine.tokenizer.encode
    thought = len(encode("<think>Easy.</think>")) + len(encode(f"<tool_call>\n{CODE}\n</tool_call>"))
    details = usage["completion_tokens_details"]
    assert details["reasoning_tokens"] == thought
    assert details["tool_output_tokens"] == len(encode("\n```output\n42\n```\n"))
    assert usage["completion_tokens"] > thought
    assert usage["prompt_tokens"] == len(spoken.engine.prompts[0])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_tool_activity_is_structured_where_requested(spoken) -> None:
    request = body(tool_activity="structured")
    message = (await complete(spoken.http, **request))["choices"][0]["message"]
    assert message["reasoning"] == "Easy."
    (item,) = message["tool_activity"]
    assert item | {"id": ""} == {
        "type": "code_interpreter_call",
        "id": "",
        "status": "completed",
        "code": CODE,
        "outputs": [{"type": "logs", "logs": "42"}],
        "outcome": "ok",
    }
    chunks = await stream(spoken.http, "/v1/chat/completions", request)
    started, ended = [one for chunk in chunks for one in chunk["choices"][0]["delta"].get("tool_activity", [])]
    assert (started["index"], started["code"], started["status"]) == (0, CODE, "in_progress")
    assert started | ended == item | {"index": 0, "id": started["id"]}


@pytest.mark.parametrize("model", [AGENT, CHAT])
async def test_stream_has_the_text_of_the_whole_completion(spoken, model: str) -> None:
    request = body(model, n=3, max_tokens=200, stream_options={"include_usage": True})
    chunks = await stream(spoken.http, "/v1/chat/completions", request)
    whole = await complete(spoken.http, model, n=3, max_tokens=200)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    for choice in whole["choices"]:
        parts = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        assert parts[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(part["delta"].get("content") or "" for part in parts) == choice["message"]["content"]
        reasoning = "".join(part["delta"].get("reasoning") or "" for part in parts).strip("\n")
        assert (reasoning or None) == choice["message"]["reasoning"]
        assert [part["finish_reason"] for part in parts if part["finish_reason"]] == [choice["finish_reason"]]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", [AGENT, CHAT])
async def test_content_ends_before_a_stop_sequence(spoken, streams: bool, model: str) -> None:
    request = body(model, stop=["is \\b", "42", "\u2603", "Easy", "import"], return_token_ids=True)
    if streams:
        chunks = await stream(spoken.http, "/v1/chat/completions", request)
        content = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        choice = chunks[-1]["choices"][0]
    else:
        choice = (await complete(spoken.http, **request))["choices"][0]
        content = choice["message"]["content"]
    (whole,) = (await complete(spoken.http, model, return_token_ids=True))["choices"]
    assert content == whole["message"]["content"].partition("is \\b")[0]
    assert (choice["finish_reason"], choice["status"]) == ("stop", "stop_sequence")
    assert choice["token_ids"] == whole["token_ids"][: len(choice["token_ids"])]
    text = spoken.engine.tokenizer.decode(choice["token_ids"])
    assert "is \\b" in text
    assert "is \\boxed{42" not in text


@pytest.mark.parametrize("model", [AGENT, CHAT])
async def test_tokens_are_limited_to_what_is_left(spoken, model: str) -> None:
    short = await complete(spoken.http, model, max_tokens=3)
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 3
    long = await complete(spoken.http, model, max_completion_tokens=1 << 40)
    assert long["choices"][0]["finish_reason"] == "stop"
    assert long["usage"]["total_tokens"] <= spoken.engine.context_length


async def test_models_have_the_policy_version(spoken) -> None:
    cards = (await spoken.http.get("/v1/models")).json()["data"]
    assert [card["id"] for card in cards] == [AGENT, CHAT]
    assert {card["policy_version"] for card in cards} == {0}
    assert (await spoken.http.get(f"/v1/models/{CHAT}")).json() == cards[1]
    missing = await spoken.http.get("/v1/models/gpt-4o")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_earlier_turns_and_system_text_are_read(spoken) -> None:
    tokenizer = spoken.engine.tokenizer
    alone = await complete(spoken.http, max_tokens=1, return_token_ids=True)
    messages = [
        {"role": "system", "content": "Answer <|im_end|> in one word."},
        {"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]},
        {"role": "assistant", "content": "\\boxed{4}", "reasoning_content": "not read again"},
        {"role": "user", "content": QUESTION},
    ]
    chat = await complete(spoken.http, max_tokens=1, return_token_ids=True, messages=messages)
    text = tokenizer.decode(chat["prompt_token_ids"])
    system = tokenizer.decode(alone["prompt_token_ids"]).partition("<|im_end|>")[0]
    assert text.startswith(f"{system}\n\nAnswer <|im_end|> in one word.<|im_end|>\n<|im_start|>user\nWhat is 2 + 2?")
    assert "not read again" not in text
    special = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert chat["prompt_token_ids"].count(special) == 4


INVALID: list[tuple[dict[str, Any], int, str]] = [
    ({"model": "gpt-4o"}, 404, "there is no model 'gpt-4o'"),
    ({"messages": []}, 400, "messages: there are none"),
    ({"messages": [{"role": "critic", "content": "?"}]}, 400, "messages.0.role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "reads text only"),
    ({"messages": [{"role": "assistant", "content": "4"}]}, 400, "the last one has to be of the user"),
    ({"messages": [{"role": "user", "content": "x" * 70_000}]}, 400, "question has 70000 bytes"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "tools: 'deepmath-agent' calls Python"),
    ({"model": CHAT, "tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "does not describe functions"),
    ({"tool_choice": "required"}, 400, "tool_choice"),
    ({"top_logprobs": 3, "logprobs": True}, 400, "top_logprobs: not supported"),
    ({"logit_bias": {"5": 1}}, 400, "logit_bias"),
    ({"frequency_penalty": 0.5}, 400, "frequency_penalty"),
    ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ({"n": 0}, 400, "n: "),
    ({"n": 129}, 400, "n: "),
    ({"max_tokens": 0}, 400, "max_tokens"),
    ({"seed": -1}, 400, "seed"),
    ({"temperature": 3}, 400, "temperature"),
    ({"temperature": "hot"}, 400, "temperature"),
    ({"stop": ["x"] * 17}, 400, "stop_sequences"),
]


@pytest.mark.parametrize(("fields", "status", "message"), INVALID)
@pytest.mark.parametrize("streams", [False, True])
async def test_invalid_request_is_refused_by_field(spoken, fields, status: int, message: str, streams) -> None:
    response = await spoken.http.post("/v1/chat/completions", json=body(stream=streams) | fields)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert message in error["message"]
    assert {"message", "type", "param", "code"} == set(error)


async def test_fields_that_change_nothing_are_ignored(spoken) -> None:
    neutral: dict[str, Any] = {
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logit_bias": {},
        "response_format": {"type": "text"},
    }
    ignored: dict[str, Any] = {
        "user": "u",
        "metadata": {},
        "store": True,
        "reasoning_effort": "low",
        "top_logprobs": 0,
        "top_k": -1,
    }
    await complete(spoken.http, max_tokens=1, tool_choice="auto", parallel_tool_calls=True, **neutral, **ignored)


@pytest.mark.parametrize("model", [AGENT, CHAT])
async def test_overload_is_429_with_retry_after(spoken, model: str) -> None:
    spoken.engine.stuck_after = 0  # four trajectories run, and four wait
    waiting = asyncio.create_task(complete(spoken.http, model, n=8))
    await until_runs(spoken.engine, 4)
    for streams in (False, True):
        response = await spoken.http.post("/v1/chat/completions", json=body(model, stream=streams))
        assert response.status_code == 429, response.text
        assert response.headers["retry-after"] == "1"
        assert response.json()["error"]["type"] == "rate_limit_error"
    spoken.engine.stuck_after = None
    assert len((await waiting)["choices"]) == 8


async def test_api_key_needs_the_scope_generate(spoken, serve_gateway, tmp_path) -> None:
    tokens = tmp_path / "tokens.toml"
    good, poor = (
        add_token(tokens, name, scope).read_text().strip() for name, scope in (("a", "generate"), ("b", "execute"))
    )
    async with serve_gateway(generator=spoken.generator, tokens=tokens) as gateway, gateway.client() as http:

        async def models(key: str) -> tuple[int, dict[str, Any]]:
            response = await http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
            return response.status_code, response.json()

        assert (await models(good))[0] == 200
        for key, status, kind in (("wrong", 401, "authentication_error"), (poor, 403, "permission_error")):
            answered, fields = await models(key)
            assert (answered, fields["error"]["type"]) == (status, kind)


async def test_unreachable_generator_is_503_with_retry_after(serve_gateway, free_port) -> None:
    async with serve_gateway(generator=f"127.0.0.1:{free_port}") as gateway, gateway.client() as http:
        response = await http.post("/v1/chat/completions", json=body())
        assert response.status_code == 503, response.text
        assert response.headers["retry-after"]


@pytest.mark.parametrize("streams", [False, True])
async def test_infrastructure_failure_is_an_error_and_no_answer(spoken, streams: bool) -> None:
    spoken.executor.is_lost = True
    response = await spoken.http.post("/v1/chat/completions", json=body(stream=streams))
    if streams:
        *_, error, done = [line for line in response.text.splitlines() if line]
        assert done == "data: [DONE]"
        assert "infrastructure failed" in json.loads(error.removeprefix("data: "))["error"]["message"]
    else:
        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert "infrastructure failed" in response.json()["error"]["message"]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("model", "reason"), [(AGENT, "9 trajectories in one request exceed 8"), (CHAT, "8 choices at most")]
)
async def test_more_choices_than_ever_fit_are_no_overload(spoken, model: str, reason: str, streams: bool) -> None:
    """The generator runs four trajectories, and four wait."""
    response = await spoken.http.post("/v1/chat/completions", json=body(model, n=9, stream=streams))
    assert response.status_code == 400
    assert reason in response.json()["error"]["message"]
