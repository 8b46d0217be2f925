"""Responses of a scripted model: items, events, input items, usage and errors."""

from typing import Any

import pytest
from deepmath_gateway.openai.served_models import AGENT
from support.scripted_engine import CODE

from gateway.openai.conftest import CHAT, QUESTION, stream


def request(model: str = AGENT, **fields: Any) -> dict[str, Any]:
    return {"model": model, "input": QUESTION} | fields


async def respond(http, model: str = AGENT, **fields: Any) -> dict[str, Any]:
    response = await http.post("/v1/responses", json=request(model, **fields))
    assert response.status_code == 200, response.text
    return dict(response.json())


def without_ids(value: Any) -> Any:
    """Return fields without those that differ from one response to the next."""
    if isinstance(value, dict):
        ids = ("id", "item_id", "created_at", "container_id", "sequence_number")
        return {name: without_ids(field) for name, field in value.items() if name not in ids}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


async def test_items_are_thinking_text_code_and_answer(spoken) -> None:
    response = await respond(spoken.http, instructions="Be brief.", metadata={"a": "b"})
    reasoning, first, code, last = response["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Easy."}]
    assert first["content"][0]["text"] == "I compute. "
    assert (code["type"], code["code"], code["status"]) == ("code_interpreter_call", CODE, "completed")
    assert code["outputs"] == [{"type": "logs", "logs": "42"}]
    assert last["content"][0]["text"] == "The answer is \\boxed{42}."
    assert (response["status"], response["answer"], response["metadata"]) == ("completed", "42", {"a": "b"})
    details = response["usage"]["output_tokens_details"]
    assert 0 < details["reasoning_tokens"] < response["usage"]["output_tokens"]
    assert details["tool_output_tokens"] > 0
    prompt = spoken.engine.tokenizer.decode(spoken.engine.prompts[0])
    assert "\n\nBe brief.<|im_end|>" in prompt


async def test_events_build_the_response(spoken) -> None:
    events = await stream(spoken.http, "/v1/responses", request())
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    code = [kind for kind in kinds if "code_interpreter" in kind]
    assert code == [
        "response.code_interpreter_call.in_progress",
        "response.code_interpreter_call_code.delta",
        "response.code_interpreter_call_code.done",
        "response.code_interpreter_call.interpreting",
        "response.code_interpreter_call.completed",
    ]
    assert kinds[-1] == "response.completed"
    ended = events[-1]["response"]
    assert without_ids(ended) == without_ids(await respond(spoken.http))
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == ended["output"]
    for index, item in enumerate(ended["output"]):
        own = [event for event in events if event.get("output_index") == index]
        assert {event["item_id"] for event in own if "item_id" in event} == {item["id"]}
        text = "".join(event["delta"] for event in own if event["type"].endswith(("text.delta", "code.delta")))
        assert text == (item["code"] if item["type"] == "code_interpreter_call" else item["content"][0]["text"])


async def test_output_can_be_sent_again_as_input(spoken) -> None:
    first = await respond(spoken.http)
    items = [{"role": "user", "content": QUESTION}, *first["output"], {"role": "user", "content": "Sure?"}]
    await respond(spoken.http, input=items)
    prompt = spoken.engine.tokenizer.decode(spoken.engine.prompts[-1])
    assert "<|im_start|>assistant\nThe answer is \\boxed{42}.<|im_end|>" in prompt
    assert CODE not in prompt.partition("Sure?")[0]


async def test_plain_chat_answers_in_one_message(spoken) -> None:
    response = await respond(spoken.http, CHAT)
    assert [item["type"] for item in response["output"]] == ["message"]


@pytest.mark.parametrize("streams", [False, True])
async def test_limit_of_tokens_makes_it_incomplete(spoken, streams: bool) -> None:
    if streams:
        event = (await stream(spoken.http, "/v1/responses", request(max_output_tokens=2)))[-1]
        assert event["type"] == "response.incomplete"
        response = event["response"]
    else:
        response = await respond(spoken.http, max_output_tokens=2)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


@pytest.mark.parametrize("streams", [False, True])
async def test_infrastructure_failure_is_no_answer(spoken, streams: bool) -> None:
    spoken.executor.is_lost = True
    if streams:
        event = (await stream(spoken.http, "/v1/responses", request()))[-1]
        assert (event["type"], event["response"]["status"]) == ("response.failed", "failed")
        assert "infrastructure failed" in event["response"]["error"]["message"]
    else:
        response = await spoken.http.post("/v1/responses", json=request())
        assert response.status_code == 503


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "?"}, 404, "there is no model '?'"),
        ({"input": []}, 400, "messages: there are none"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, 400, "input[0]: items of the type 'item_reference'"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, 400, "reads text only"),
        ({"input": [{"type": "function_call", "name": "f"}]}, 400, "input[0].call_id"),
        (
            {"input": [{"role": "user", "content": "?"}, {"type": "function_call", "call_id": "1", "name": "f"}]},
            400,
            "last",
        ),
        ({"previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ({"background": True}, 400, "background"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, 400, "text.format"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools: the type 'web_search'"),
        ({"tools": [{"type": "function", "name": "f"}]}, 400, "calls Python and no functions"),
        ({"model": CHAT, "tools": [{"type": "code_interpreter"}]}, 400, "has the code interpreter"),
        ({"max_output_tokens": 0}, 400, "max_output_tokens"),
    ],
)
async def test_invalid_request_is_refused_by_field(spoken, fields, status: int, message: str) -> None:
    response = await spoken.http.post("/v1/responses", json=request() | fields)
    assert response.status_code == status, response.text
    assert message in response.json()["error"]["message"]


async def test_code_interpreter_is_accepted_and_responses_are_not_stored(spoken) -> None:
    tool = {"type": "code_interpreter", "container": {"type": "auto"}}
    response = await respond(spoken.http, tools=[tool], include=["code_interpreter_call.outputs"], store=True)
    assert response["tools"] == [tool]
    assert (await spoken.http.get(f"/v1/responses/{response['id']}")).status_code == 404
