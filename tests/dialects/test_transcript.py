"""One module writes and parses the marks of a transcript, and what it writes it parses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.linear_time import assert_linear

from deepmath.dialects import DIALECTS
from deepmath.dialects.dialect import TranscriptPart
from deepmath.dialects.dialect_parser import CallParser, ProseStream, outside_thinking, without_special_tokens
from deepmath.dialects.output_fence import write_output
from deepmath.dialects.transcript import parse_transcript

MARKS = DIALECTS["tool-call"].marks
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
    parser, calls = CallParser(MARKS), []
    for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
        for end in parser.ends(text[start:stop]):
            assert text[: start + end.offset].endswith("</tool_call>")
            calls.append(end.text)
    assert (calls, parser.prose) == divided(text)


def test_call_that_is_ended_for_the_model_has_all_of_its_text() -> None:
    parser = CallParser(MARKS)
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


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "<tool_call>",
            "</tool_call>",
            "<tool_call></tool_call>\n```output\n",
            "<tool_call>x</tool_call>\n````output\n",
        ),
        *("<", "<|", "<|a", "<think>", "</think>", "```\n", "`", "<tool_call", " \n", "<tool_call>\n"),
    ],
)
def test_time_is_linear_in_hostile_text(unit: str) -> None:
    def read(text: str) -> None:
        list(CallParser(MARKS).ends(text))
        list(parse_transcript(text))
        write_output(text)
        outside_thinking(text, False)
        without_special_tokens(text)
        parser, stream = CallParser(MARKS), ProseStream(MARKS)
        for position in range(0, len(text), 50):
            list(parser.ends(text[position : position + 50]))
            stream.feed(text[position : position + 50])

    assert_linear(read, unit)


@given(
    st.lists(st.sampled_from(["a", "<", "<tool_call>", "</tool_call>", "x = 1", "</think>", "<|im_end|>", "\n"])),
    st.data(),
)
def test_prose_stream_does_not_depend_on_where_text_is_cut(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces) + " end <tool_call>"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    whole, cut = ProseStream(MARKS), ProseStream(MARKS)
    deltas = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(cut.feed, deltas)) == whole.feed(text)
