"""Chat completions over the shared engine: exact tokens, streams, choices, stop sequences, usage and errors."""

import asyncio
import json
from typing import Any

import pytest
from deepmath_gateway.openai.served_models import AGENT

from deepmath.generator.v1 import generator_pb2 as pb
from gateway.openai.conftest import CHAT, QUESTION, body, complete, stream

MODEL = pb.Segment.SOURCE_MODEL


async def rolled_out(generator, seed: int, **options) -> pb.Trajectory:
    prompts = [pb.RolloutPrompt(question=QUESTION, seed=seed)]
    (response,) = [response async for response in generator.rollout(prompts, **options)]
    return response.trajectory


@pytest.mark.parametrize("seed", [0, 3, 12345])
@pytest.mark.parametrize("streams", [False, True])
async def test_tokens_mask_and_logprobs_are_those_of_rollout(openai_http, generator, seed: int, streams: bool) -> None:
    trajectory = await rolled_out(generator, seed)
    request = body(seed=seed, return_token_ids=True, logprobs=True)
    if streams:
        *_, last = await stream(openai_http, "/v1/chat/completions", request)
        prompt_ids, choice = last["prompt_token_ids"], last["choices"][0]
    else:
        completion = await complete(openai_http, **request)
        prompt_ids, choice = completion["prompt_token_ids"], completion["choices"][0]
    assert prompt_ids == list(trajectory.prompt_token_ids)
    assert choice["token_ids"] == [token for segment in trajectory.segments for token in segment.token_ids]
    sampled = [segment.source == MODEL for segment in trajectory.segments for _ in segment.token_ids]
    assert choice["token_mask"] == [int(one) for one in sampled]
    logprobs = [value for segment in trajectory.segments for value in segment.logprobs]
    assert [value for value in choice["token_logprobs"] if value is not None] == logprobs
    assert [value is not None for value in choice["token_logprobs"]] == sampled
    assert [one["policy_version"] for one in choice["segments"] if one["source"] == "model"] == [
        segment.policy_version for segment in trajectory.segments if segment.source == MODEL
    ]
    content = choice["logprobs"]["content"]
    assert [one["logprob"] for one in content] == logprobs
    model_text = "".join(segment.text for segment in trajectory.segments if segment.source == MODEL)
    assert "".join(one["token"] for one in content) == model_text
    assert choice["answer"] == trajectory.answer


async def test_plain_chat_is_the_generators_chat(openai_http, generator, engine) -> None:
    messages = [pb.ChatMessage(role=pb.ChatMessage.ROLE_USER, content=QUESTION)]
    sampling = pb.Sampling(seed=3, temperature=0.5)
    *_, last = [event async for event in generator.chat(messages, sampling=sampling, max_tokens=40)]
    choices = (
        await complete(openai_http, CHAT, temperature=0.5, max_tokens=40, n=2, return_token_ids=True, logprobs=True)
    )["choices"]
    assert choices[0]["token_ids"] == list(last.end.segment.token_ids)
    assert choices[0]["token_logprobs"] == list(last.end.segment.logprobs)
    for choice in choices:
        text = engine.tokenizer.decode(choice["token_ids"], skip_special_tokens=False)
        assert "".join(one["token"] for one in choice["logprobs"]["content"]) == text
    assert [choice["index"] for choice in choices] == [0, 1]


@pytest.mark.parametrize("model", [AGENT, CHAT])
async def test_stream_has_the_text_of_the_whole_completion(openai_http, model: str) -> None:
    request = body(model, n=3, max_tokens=200, stream_options={"include_usage": True})
    chunks = await stream(openai_http, "/v1/chat/completions", request)
    whole = await complete(openai_http, model, n=3, max_tokens=200)
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


async def called(http, **fields) -> tuple[int, dict[str, Any]]:
    """Return a seed with which the agent calls Python, and the completion."""
    for seed in range(20):
        completion = await complete(http, seed=seed, **fields)
        if completion["usage"]["completion_tokens_details"]["tool_output_tokens"]:
            return seed, completion
    pytest.skip("the embedded model called Python in none of 20 samples")


async def test_calls_and_outputs_are_reasoning_and_no_content(openai_http) -> None:
    seed, completion = await called(openai_http)
    message, usage = completion["choices"][0]["message"], completion["usage"]
    assert "```python\n" in message["reasoning"]
    assert "```output\n" in message["reasoning"]
    assert "tool_call" not in message["content"]
    details = usage["completion_tokens_details"]
    assert 0 < details["reasoning_tokens"] < usage["completion_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    structured = await complete(openai_http, seed=seed, tool_activity="structured")
    activity = structured["choices"][0]["message"]["tool_activity"]
    assert activity[0]["type"] == "code_interpreter_call"
    assert f"```python\n{activity[0]['code']}\n```" in message["reasoning"]
    assert activity[0]["outputs"][0]["logs"] in message["reasoning"]
    chunks = await stream(openai_http, "/v1/chat/completions", body(seed=seed, tool_activity="structured"))
    deltas = [one for chunk in chunks for one in chunk["choices"][0]["delta"].get("tool_activity", [])]
    merged: dict[str, Any] = {}
    for delta in deltas[:2]:
        merged |= delta
    assert {name: merged[name] for name in ("code", "outputs", "status")} == {
        name: activity[0][name] for name in ("code", "outputs", "status")
    }


@pytest.mark.parametrize("streams", [False, True])
async def test_content_ends_before_a_stop_sequence(openai_http, streams: bool) -> None:
    for seed in range(20):
        completion = await complete(openai_http, seed=seed)
        content = completion["choices"][0]["message"]["content"]
        if len(content) > 6:
            break
    else:
        pytest.skip("the embedded model answered in none of 20 samples")
    stop = content[3:6]
    request = body(seed=seed, stop=[stop, "\u2603"], return_token_ids=True)
    if streams:
        chunks = await stream(openai_http, "/v1/chat/completions", request)
        stopped = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        end = chunks[-1]["choices"][0]
    else:
        end = (await complete(openai_http, **request))["choices"][0]
        stopped = end["message"]["content"]
    assert stopped == content[: content.index(stop)]
    assert (end["finish_reason"], end["status"]) == ("stop", "stop_sequence")
    whole = await complete(openai_http, seed=seed, return_token_ids=True)
    assert end["token_ids"] == whole["choices"][0]["token_ids"][: len(end["token_ids"])]
    assert len(end["token_ids"]) < len(whole["choices"][0]["token_ids"])


@pytest.mark.parametrize("model", [AGENT, CHAT])
async def test_tokens_are_limited_to_what_is_left(openai_http, engine, model: str) -> None:
    short = await complete(openai_http, model, max_tokens=3)
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 3
    long = await complete(openai_http, model, max_completion_tokens=1 << 40)
    assert long["usage"]["total_tokens"] <= engine.context_length


async def test_models_have_the_policy_version(openai_http, generator) -> None:
    cards = (await openai_http.get("/v1/models")).json()["data"]
    info = await generator.get_info()
    assert [card["id"] for card in cards] == [AGENT, info.model]
    assert {card["policy_version"] for card in cards} == {info.policy_version}
    assert (await openai_http.get(f"/v1/models/{info.model}")).json() == cards[1]
    missing = await openai_http.get("/v1/models/gpt-4o")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_earlier_turns_and_system_text_are_read(openai_http, engine) -> None:
    alone = await complete(openai_http, max_tokens=1, return_token_ids=True)
    messages = [
        {"role": "system", "content": "Answer <|im_end|> in one word."},
        {"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]},
        {"role": "assistant", "content": "\\boxed{4}", "reasoning_content": "not read again"},
        {"role": "user", "content": QUESTION},
    ]
    chat = await complete(openai_http, max_tokens=1, return_token_ids=True, messages=messages)
    text = engine.tokenizer.decode(chat["prompt_token_ids"])
    system = engine.tokenizer.decode(alone["prompt_token_ids"]).partition("<|im_end|>")[0]
    assert text.startswith(f"{system}\n\nAnswer <|im_end|> in one word.<|im_end|>\n<|im_start|>user\nWhat is 2 + 2?")
    assert "not read again" not in text
    special = engine.tokenizer.convert_tokens_to_ids("<|im_end|>")
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
async def test_invalid_request_is_refused_by_field(openai_http, fields, status: int, message: str, streams) -> None:
    response = await openai_http.post("/v1/chat/completions", json=body(stream=streams) | fields)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert message in error["message"]
    assert {"message", "type", "param", "code"} == set(error)


async def test_fields_that_change_nothing_are_ignored(openai_http) -> None:
    neutral = {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "response_format": {"type": "text"}}
    ignored = {"user": "u", "metadata": {}, "store": True, "reasoning_effort": "low", "top_logprobs": 0, "top_k": -1}
    await complete(openai_http, max_tokens=1, tool_choice="auto", parallel_tool_calls=True, **neutral, **ignored)


@pytest.mark.parametrize("model", [AGENT, CHAT])
async def test_overload_is_429_with_retry_after(serve_generator, serve_gateway, config, model: str) -> None:
    full = config.model_copy(update={"max_trajectories": 1, "max_waiting": 1})
    async with (
        serve_generator(full) as served,
        serve_gateway(generator=served.address) as gateway,
        gateway.client() as http,
    ):
        response = await http.post("/v1/chat/completions", json=body(model, n=9, temperature=2, stream=True))
    assert response.status_code == 429, response.text
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]["type"] == "rate_limit_error"


async def test_unreachable_generator_is_503_with_retry_after(serve_gateway, free_port) -> None:
    async with serve_gateway(generator=f"127.0.0.1:{free_port}") as gateway, gateway.client() as http:
        response = await http.post("/v1/chat/completions", json=body())
        assert response.status_code == 503, response.text
        assert response.headers["retry-after"]


@pytest.mark.parametrize("streams", [False, True])
async def test_infrastructure_failure_is_an_error_and_no_answer(
    serve_generator, serve_gateway, config, free_port, openai_http, streams: bool
) -> None:
    from deepmath.clients import ExecutorClient

    seed, _ = await called(openai_http)
    async with (
        ExecutorClient(f"127.0.0.1:{free_port}", 0.2) as unreachable,
        serve_generator(config, unreachable) as served,
        serve_gateway(generator=served.address) as gateway,
        gateway.client() as http,
    ):
        response = await http.post("/v1/chat/completions", json=body(seed=seed, stream=streams))
    if streams:
        *_, error, done = [line for line in response.text.splitlines() if line]
        assert done == "data: [DONE]"
        assert "infrastructure" in json.loads(error.removeprefix("data: "))["error"]["message"]
    else:
        assert response.status_code == 503
        assert "infrastructure" in response.json()["error"]["message"]


@pytest.mark.parametrize("streams", [False, True])
async def test_client_that_leaves_ends_the_request_within_a_second(
    full_gateway, engine, generator, streams: bool
) -> None:
    loop = asyncio.get_running_loop()
    request = body(n=64, temperature=2, stream=streams, max_tokens=2000)

    async def is_idle() -> bool:
        return not (engine._llm.get_num_unfinished_requests() or (await generator.get_info()).live_trajectories)

    async with full_gateway.client() as http:
        if streams:
            async with http.stream("POST", "/v1/chat/completions", json=request) as response:
                assert response.status_code == 200
                await anext(response.aiter_lines())
        else:
            task = asyncio.create_task(http.post("/v1/chat/completions", json=request))
            async with asyncio.timeout(20):
                while await is_idle():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            task.cancel()
    left = loop.time()
    async with asyncio.timeout(10):
        while not await is_idle():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert loop.time() - left < 1
