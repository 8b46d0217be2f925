"""One module writes and parses the marks of a transcript, and what it writes it parses."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bound_dialects import BOUND, MARKS
from support.linear_time import assert_linear

from deepmath.dialects import DIALECTS, Dialect, MalformedCall
from deepmath.dialects.call_code import python_source
from deepmath.dialects.dialect import TranscriptPart
from deepmath.dialects.dialect_parser import CallParser, outside_thinking, without_special_tokens
from deepmath.dialects.output_fence import write_output
from deepmath.dialects.transcript import parse_transcript
from deepmath.dialects.turn_splitter import TurnSplitter

TOOL_CALL = DIALECTS["tool-call"].marks
write_call = DIALECTS["tool-call"].write_call

_PLAIN = st.text(st.characters(blacklist_characters="<`", blacklist_categories=["Cs"]), min_size=1)


@given(st.lists(st.tuples(_PLAIN, _PLAIN, _PLAIN), max_size=4), _PLAIN)
def test_transcript_that_was_written_is_parsed_into_its_parts(steps: list[tuple[str, str, str]], end: str) -> None:
    text, expected = "", []
    for prose, code, output in steps:
        text += prose + write_call(code) + write_output(output)
        expected += [
            TranscriptPart("prose", prose),
            TranscriptPart("call", code.strip("\n")),
            TranscriptPart("output", output),
        ]
    assert list(parse_transcript(text + end)) == [*expected, TranscriptPart("prose", end)]


def test_unfinished_call_extends_to_the_end() -> None:
    assert list(parse_transcript("Now <tool_call>\nf(")) == [
        TranscriptPart("prose", "Now "),
        TranscriptPart("call", "f("),
    ]


PIECES = st.sampled_from(
    ["a", "<", "</", ">", "tool_call", "<tool_call>", "</tool_call>", "x = 1", "é", "</think>", "<|im_end|>", "\n", " "]
)


def divided(text: str) -> tuple[list[str | None], str]:
    """Return the texts of the calls and the prose, from the whole text at once."""
    calls: list[str | None] = []
    prose = ""
    while True:
        before, start, after = text.partition("<tool_call>")
        if "</tool_call>" in before or not start:
            stray, end, text = text.partition("</tool_call>")
            if not end:
                return calls, prose + stray
            calls, prose = [*calls, None], prose + stray + "\n"
            continue
        prose += before
        while after.lstrip().startswith("<tool_call>"):
            after = after.lstrip().removeprefix("<tool_call>")
        call, end, text = after.partition("</tool_call>")
        if not end:
            return calls, prose
        calls, prose = [*calls, call], prose + "\n"


@given(st.lists(PIECES), st.data())
def test_parse_does_not_depend_on_where_text_is_cut(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    parser, calls = CallParser(TOOL_CALL), []
    for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
        for end in parser.ends(text[start:stop]):
            assert text[: start + end.offset].endswith("</tool_call>")
            calls.append(end.text)
    assert (calls, parser.prose) == divided(text)


def test_call_that_is_ended_for_the_model_has_all_of_its_text() -> None:
    parser = CallParser(TOOL_CALL)
    assert not list(parser.ends("a <tool_call>x</tool"))
    assert parser.is_undecided
    assert parser.in_call
    assert parser.end_call() == "x</tool"
    assert list(parser.ends("_call> b")) == []
    assert parser.prose == "a \n_call> b"


@pytest.mark.parametrize(
    "output", ["```", "1\n```\n", "\n```output\n7", "`````", "  ````\n```\n</tool_call>", "a```", ""]
)
def test_no_output_ends_its_fence(output: str) -> None:
    text = write_call("1") + write_output(output)
    expected = [TranscriptPart("call", "1"), TranscriptPart("output", output)]
    assert list(parse_transcript(text + "so\n```\n")) == [*expected, TranscriptPart("prose", "so\n```\n")]


@pytest.mark.parametrize(
    ("prose", "thinking", "said"),
    [
        ("a", False, "a"),
        ("a</think>b", True, "b"),
        ("a", True, ""),
        ("a<think>b</think>c", False, "ac"),
        ("a<think>b", False, "a"),
        ("a</think>b", False, "b"),
        ("a</think>b<think>c", True, "b"),
        ("<think><think>a</think>b", False, "b"),
    ],
)
def test_thinking_is_left_out(prose: str, thinking: bool, said: str) -> None:
    assert outside_thinking(prose, thinking) == said


TAG_UNITS = [
    *("<tool_call>", "</tool_call>", "<tool_call></tool_call>\n```output\n", "<tool_call>x</tool_call>\n````output\n"),
    *("<", "<|", "<|a", "<think>", "</think>", "```\n", "`", "<tool_call", " \n", "<tool_call>\n"),
]
FENCE_UNITS = [
    "```python\n",
    "```python\nx\n```\n```output\n",
    "\n        ",
    "\n`",
    "````````",
    "\n```python  ",
    "\n```output",
]
HERMES_UNITS = [
    "<tool_call>{",
    '<tool_call>{"name": ',
    "<tool_response>",
    "<tool_call>x</tool_call><|im_end|>\n<tool_response>\n",
]
TAG_MESSAGE_UNITS = ["<|python_tag|>", "<|python_tag|>x<|eom_id|>ipython ", "<|eot_id|>", "<|start_header_id|>ipython<"]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *(("tool-call", unit) for unit in TAG_UNITS),
        *(("python-fence", unit) for unit in FENCE_UNITS),
        *(("hermes", unit) for unit in HERMES_UNITS),
        *(("python-tag", unit) for unit in TAG_MESSAGE_UNITS),
    ],
)
def test_time_is_linear_in_hostile_text(name: str, unit: str) -> None:
    dialect = BOUND[name]

    def read(text: str) -> None:
        list(CallParser(dialect.marks).ends(text))
        list(parse_transcript(text, dialect))
        dialect.output(text, text)
        outside_thinking(text, False)
        without_special_tokens(text)
        parser, stream = CallParser(dialect.marks), TurnSplitter(dialect.marks)
        for position in range(0, len(text), 50):
            list(parser.ends(text[position : position + 50]))
            stream.feed_text(text[position : position + 50])

    assert_linear(read, unit)


@pytest.mark.parametrize(
    "unit", ['{"a":', "[", '{"name": "python", "arguments": "{', "\\", "\n", " ", "`", '{"name', "{\n", '["', "[ {"]
)
@pytest.mark.parametrize("start", ["", '{"name": "python", "arguments": {"code": "'])
def test_time_is_linear_in_hostile_calls(unit: str, start: str) -> None:
    def read(text: str) -> None:
        with suppress(MalformedCall):
            DIALECTS["hermes"].code(start + text)

    assert_linear(read, unit)


CALLS = {
    "code": ('{"name": "python", "arguments": {"code": "a\\nb"}}', "a\nb"),
    "lines without escapes": ('{"name": "python", "arguments": {"code": "a\nb"}}', "a\nb"),
    "in a fence": ('```json\n{"name": "python", "arguments": {"code": "1"}}\n```', "1"),
    "arguments as JSON": (json.dumps({"name": "python", "arguments": '{"code": "1"}'}), "1"),
    "arguments as code": ('{"name": "python", "arguments": "1"}', "1"),
    "parameters": ('{"name": "python", "parameters": {"code": "1"}}', "1"),
    "the last of two keys": ('{"name": "no", "name": "python", "arguments": {"code": "1", "code": "2"}}', "2"),
    "surrogate pair": ('{"name": "python", "arguments": {"code": "\\ud83d\\ude42"}}', "🙂"),
    "a mebibyte": (json.dumps({"name": "python", "arguments": {"code": "x=1\n" * (1 << 18)}}), "x=1\n" * (1 << 18)),
    "Python": ("\nprint(1)\n", "print(1)"),
    "a set": ("{1, 2}", "{1, 2}"),
    "a comprehension": ("{n: n**2 for n in range(3)}", "{n: n**2 for n in range(3)}"),
    "a list": ("[n for n in range(3)]", "[n for n in range(3)]"),
}


@pytest.mark.parametrize("call", CALLS)
def test_code_of_a_call_in_json(call: str) -> None:
    text, code = CALLS[call]
    assert DIALECTS["hermes"].code(text) == code.strip("\n")


@pytest.mark.parametrize(
    ("call", "mistake"),
    [
        ('{"name": "python", "arguments": {"code": "1"}', "not valid JSON"),
        ('{"name": "python", "arguments": {"code": "1"}} {"name": "python"}', "not valid JSON (Extra data)"),
        ("{'name': 'python'}", "not valid JSON"),
        ('{"name": "python", "arguments": {"code": "print("a")"}}', "not valid JSON"),
        ('{"name": "python", "arguments": ' + "[" * 100_000, "nested too deeply"),
        ('{"name": "python", "arguments": ' + "1" * 5_000 + "}", "number that is too long"),
        ('[{"name": "python", "arguments": {"code": "1"}}]', "one call at a time"),
        ('{"name": "search\\ud800", "arguments": {"code": "1"}}', "only the function python"),
        ('{"name": ["python"], "arguments": {"code": "1"}}', "only the function python"),
        ('{"name": "python", "arguments": {"code": NaN}}', "the argument code is missing"),
        ('{"name": "python", "arguments": {"code": ["1"]}}', "the argument code is missing"),
        ('{"name": "python", "arguments": null}', "the argument code is missing"),
        ('{"name": "python"}', "the argument code is missing"),
        ("{}", "only the function python"),
    ],
)
def test_malformed_call_in_json_is_rejected_with_the_form(call: str, mistake: str) -> None:
    with pytest.raises(MalformedCall, match=r"not valid|only|one call|argument") as caught:
        DIALECTS["hermes"].code(call)
    assert mistake in str(caught.value)
    assert DIALECTS["hermes"].form in str(caught.value)
    assert len(str(caught.value)) < 300


ANYTHING = st.lists(
    st.sampled_from([*MARKS, "a", "`", "``", "<", "|", ">", " ", "\t", "\r\n", "é", "x = 1"]), max_size=14
)


@settings(max_examples=300)
@given(dialect=st.sampled_from(sorted(BOUND)).map(BOUND.__getitem__), pieces=ANYTHING, data=st.data())
def test_parse_in_any_dialect_does_not_depend_on_where_text_is_cut(
    dialect: Dialect, pieces: list[str], data: st.DataObject
) -> None:
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))

    def parsed(parts: list[str]) -> tuple[list[tuple[int, str | None]], str, bool, bool, str]:
        parser, ends, position = CallParser(dialect.marks), [], 0
        for part in parts:
            ends += [(position + end.offset, end.text) for end in parser.ends(part)]
            position += len(part)
        assert parser.length == len(text)
        stream = TurnSplitter(dialect.marks)
        return ends, parser.prose, parser.in_call, parser.is_open, "".join(map(stream.feed_text, [*parts, " end <"]))

    whole, cut = [text], [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parsed(cut) == parsed(whole)


@given(text=ANYTHING.map("".join), more=ANYTHING.map("".join), name=st.sampled_from(sorted(BOUND)))
def test_restored_parser_has_forgotten_what_it_read(text: str, more: str, name: str) -> None:
    parser, other = CallParser(BOUND[name].marks), CallParser(BOUND[name].marks)
    list(parser.ends(text))
    list(other.ends(text))
    state = parser.state()
    for _ in range(2):
        list(parser.ends(more))
        parser.end_call()
        parser.follow("\n")
        parser.restore(state)
        assert parser.state() == other.state()
    assert list(parser.ends(more)) == list(other.ends(more))
    assert parser.state() == other.state()


@given(
    st.lists(st.tuples(_PLAIN, _PLAIN, _PLAIN), max_size=4),
    _PLAIN,
    st.sampled_from(sorted(BOUND)).map(BOUND.__getitem__),
)
def test_solution_in_any_dialect_is_parsed_into_its_parts(
    steps: list[tuple[str, str, str]], end: str, dialect: Dialect
) -> None:
    text, expected = "", []
    for prose, code, output in steps:
        text += f"{prose}\n{dialect.write_call(code)}"
        text += "".join(piece.text for piece in dialect.output(output, text[-64:]))
        expected += [("prose", f"{prose}\n"), ("call", python_source(code)), ("output", output)]
    parts = [
        (part.kind, dialect.code(part.text) if part.kind == "call" else part.text)
        for part in parse_transcript(text + end, dialect)
    ]
    assert parts == [*expected, ("prose", end)]


@given(
    st.lists(st.sampled_from(["a", "<", "<tool_call>", "</tool_call>", "x = 1", "</think>", "<|im_end|>", "\n"])),
    st.data(),
)
def test_prose_stream_does_not_depend_on_where_text_is_cut(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces) + " end <tool_call>"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    whole, cut = TurnSplitter(TOOL_CALL), TurnSplitter(TOOL_CALL)
    deltas = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(cut.feed_text, deltas)) == whole.feed_text(text)


def test_each_output_of_an_example_is_a_turn_where_the_loop_shows_it_as_one() -> None:
    parts = [TranscriptPart("prose", "Add."), TranscriptPart("call", "1+1"), TranscriptPart("output", "2")]
    parts.append(TranscriptPart("prose", "It is 2."))
    for name, roles in {
        "tool-call": ["user", "assistant"],
        "python-fence": ["user", "assistant"],
        "hermes": ["user", "assistant", "tool", "assistant"],
        "python-tag": ["user", "assistant", "tool", "assistant"],
    }.items():
        turns = list(DIALECTS[name].example_turns("1+1?", parts))
        assert [turn["role"] for turn in turns] == roles
        assert "1+1" in str(turns[1])
        assert ("```output" in str(turns)) == (len(roles) == 2)
