"""Function calls in chats: the forms that chat templates write, reading them from pieces of text, and validation."""

import copy
import json
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from deepmath_generator.chat_prompt import encode_chat
from deepmath_generator.chat_validation import check_chat, check_context
from deepmath_generator.function_call_reader import FunctionCallReader
from hypothesis import given
from hypothesis import strategies as st
from support.chat_templates import HERMES_2_PRO, chat_template, render

from deepmath.dialects.function_calls import BareCalls, FunctionCallForm, TaggedCalls, function_call_form
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

USER, ASSISTANT, TOOL = pb.ChatMessage.ROLE_USER, pb.ChatMessage.ROLE_ASSISTANT, pb.ChatMessage.ROLE_TOOL
CALL = '{"name": "add", "arguments": {"a": 1, "b": [2.5, "<|im_end|>"]}}'
ARGUMENTS = {"a": 1, "b": [2.5, "<|im_end|>"]}


@pytest.mark.parametrize(
    ("name", "form"),
    [("hermes_2_pro", TaggedCalls), ("qwen2_5", TaggedCalls), ("qwen3", TaggedCalls), ("llama3_1", BareCalls)],
)
def test_form_is_that_of_the_chat_template(name: str, form: type[FunctionCallForm]) -> None:
    assert type(function_call_form(partial(render, chat_template(name)))) is form


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("chatml", "does not describe functions"),
        ("none", "rejects calls of functions"),
        ("glm4moe", "in a form that is not supported"),
    ],
)
def test_template_without_a_known_form_is_refused(name: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        function_call_form(partial(render, chat_template(name)))


def read(form: FunctionCallForm, text: str, cuts: set[int]) -> list[Any]:
    """Return what a reader makes of a text that is cut at these places: texts, and (name, arguments) of calls."""
    reader = FunctionCallReader(form, {"add"})
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    events = [event for start, end in pairwise(edges) for event in reader.feed(text[start:end])]
    items: list[Any] = []
    for event in [*events, *reader.end()]:
        if event.HasField("call"):
            items.append((event.call.name, json.loads(event.call.arguments_json)))
        elif items and isinstance(items[-1], str):
            items[-1] += event.text.text
        else:
            items.append(event.text.text)
    return items


CASES: list[tuple[FunctionCallForm, str, list[Any]]] = [
    (TaggedCalls(), f"I add.\n<tool_call>\n{CALL}\n</tool_call>", ["I add.\n", ("add", ARGUMENTS)]),
    (TaggedCalls(), f"<tool_call>[{CALL}, {CALL}]</tool_call>!", [("add", ARGUMENTS), ("add", ARGUMENTS), "!"]),
    (TaggedCalls(), f"<tool_call>{CALL}", [("add", ARGUMENTS)]),
    (TaggedCalls(), '<tool_call>{"name": "add"}</tool_call>', [("add", {})]),
    (TaggedCalls(), '<tool_call>{"name": "rm"}</tool_call>', ['<tool_call>{"name": "rm"}</tool_call>']),
    (TaggedCalls(), "<tool_call>6 * 7</tool_call> </tool_call>", ["<tool_call>6 * 7</tool_call> </tool_call>"]),
    (TaggedCalls(), "<tool_call>", ["<tool_call>"]),
    (TaggedCalls(), "no call <tool", ["no call <tool"]),
    (
        TaggedCalls(),
        '<tool_call>{"name": "add", "arguments": {"a": NaN}}</tool_call>',
        ['<tool_call>{"name": "add", "arguments": {"a": NaN}}</tool_call>'],
    ),
    (
        TaggedCalls(),
        '<tool_call>{"name": "add", "arguments": {"a": "\\ud800"}}</tool_call>',
        ['<tool_call>{"name": "add", "arguments": {"a": "\\ud800"}}</tool_call>'],
    ),
    (BareCalls(), '\n{"name": "add", "parameters": {"a": 1}}', [("add", {"a": 1})]),
    (BareCalls(), '<|python_tag|>{"name": "add", "parameters": {}}', [("add", {})]),
    (BareCalls(), '{"name": "rm", "parameters": {}}', ['{"name": "rm", "parameters": {}}']),
    (BareCalls(), "<|python_tag|>print(1)", ["<|python_tag|>print(1)"]),
    (BareCalls(), 'As JSON: {"name": "add"}', ['As JSON: {"name": "add"}']),
    (BareCalls(), "", []),
]


@pytest.mark.parametrize(("form", "text", "items"), CASES)
@given(cuts=st.sets(st.integers(1, 120)))
def test_calls_are_read_wherever_the_text_is_cut(form: FunctionCallForm, text: str, items: list[Any], cuts) -> None:
    assert read(form, text, cuts) == items


@given(st.text(alphabet='<>/tool_cal{}"name: d|python_tag\n', max_size=60), st.sets(st.integers(1, 60)))
def test_text_that_is_no_call_is_kept(text: str, cuts: set[int]) -> None:
    for form in (TaggedCalls(), BareCalls()):
        assert "".join(read(form, text, cuts)) == text


def test_special_tokens_in_functions_and_calls_are_plain_text(tokenizer) -> None:
    tokenizer = copy.copy(tokenizer)
    tokenizer.chat_template = HERMES_2_PRO
    schema = '{"type": "object", "properties": {"<|im_end|>": {"description": "<|im_start|>"}}}'
    functions = [pb.Function(name="add", description="<|im_end|>", parameters_json=schema)]
    call = pb.FunctionCall(id="1", name="add", arguments_json='{"<|im_end|>": "<|im_start|>"}')
    messages = [
        pb.ChatMessage(role=USER, content="?"),
        pb.ChatMessage(role=ASSISTANT, calls=[call]),
        pb.ChatMessage(role=TOOL, content="<|im_end|>", call_id="1"),
    ]
    check_chat(messages, functions)
    ids = encode_chat(tokenizer, messages, functions)
    text = tokenizer.decode(ids, skip_special_tokens=False)
    end, start = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|im_start|>"))
    assert (ids.count(end), ids.count(start)) == (4, 5)  # of the system, the user, the call, the tool; and the start
    assert text.count("<|im_end|>") == 4 + 4
    assert '"name": "add", "content": "<|im_end|>"' in text


@pytest.mark.parametrize(
    ("functions", "field"),
    [
        ([pb.Function(name="")], r"functions\[0\]\.name is ''"),
        ([pb.Function(name="a b")], r"functions\[0\]\.name"),
        ([pb.Function(name="f"), pb.Function(name="f")], "two have the same name"),
        ([pb.Function(name=f"f{n}") for n in range(129)], "functions: 129"),
        ([pb.Function(name="f", parameters_json="[]")], "parameters_json is not a JSON object"),
        ([pb.Function(name="f", parameters_json="{")], "parameters_json is not valid JSON"),
        ([pb.Function(name="f", parameters_json='{"a": NaN}')], "parameters_json is not valid JSON"),
        ([pb.Function(name="f", parameters_json='{"a": "\\ud800"}')], "parameters_json is not valid JSON"),
        ([pb.Function(name="f", parameters_json='{"a":' * 40 + "1" + "}" * 40)], "nests deeper than 32"),
        ([pb.Function(name="f", parameters_json="[" * 100_000)], "parameters_json is not valid JSON"),
        ([pb.Function(name="f", description="x" * (513 << 10))], "524291|525315|bytes in total"),
    ],
)
def test_invalid_function_is_rejected_by_field(functions, field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        check_chat([pb.ChatMessage(role=USER, content="?")], functions)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.ChatMessage(role=USER, calls=[pb.FunctionCall(name="f")]), r"messages\[0\]\.calls"),
        (pb.ChatMessage(role=USER, call_id="1"), r"messages\[0\]\.call_id"),
        (pb.ChatMessage(role=TOOL, call_id="1" * 300), r"messages\[0\]\.call_id is longer"),
        (pb.ChatMessage(role=ASSISTANT, calls=[pb.FunctionCall(name="f")] * 129), r"messages\[0\]\.calls: 129"),
        (
            pb.ChatMessage(role=ASSISTANT, calls=[pb.FunctionCall(name="f", arguments_json="1")]),
            "is not a JSON object",
        ),
    ],
)
def test_invalid_call_is_rejected_by_field(message: pb.ChatMessage, field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        check_chat([message])


def test_context_has_no_tools_and_a_limit() -> None:
    with pytest.raises(InvalidRequest, match=r"context\[0\]\.role is 4"):
        check_context("context", [pb.ChatMessage(role=TOOL, content="4")])
    with pytest.raises(InvalidRequest, match=r"context\[0\]\.calls"):
        check_context("context", [pb.ChatMessage(role=ASSISTANT, calls=[pb.FunctionCall(name="f")])])
    with pytest.raises(InvalidRequest, match="context have 614400 bytes"):
        check_context("context", [pb.ChatMessage(role=USER, content="x" * (600 << 10))])
