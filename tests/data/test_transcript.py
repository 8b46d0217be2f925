"""One module writes and parses the marks of a transcript, and what it writes it parses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.data.transcript import (
    ProseStream,
    TranscriptPart,
    called_code,
    parse_transcript,
    without_calls,
    write_call,
    write_output,
)

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


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("<tool_call>\n1+1\n</tool_call>", "1+1"),
        ("a <tool_call>x</tool_call> b <tool_call>y</tool_call>", "y"),
        ("<tool_call>\n```python\n1+1\n```\n</tool_call>", "1+1"),
        ("Words <tool_call>\nx = 2\nx\n</tool_call>", "x = 2\nx"),
        ("<tool_call>\n    indented = 1\n</tool_call>", "    indented = 1"),
        ("<tool_call></tool_call>", ""),
        ("no call", None),
        ("</tool_call>", None),
        ("<tool_call>\nunfinished", None),
        ("1+1</tool_call>", None),
        ("<tool_call>1+1</tool_call> and on", None),
    ],
)
def test_code_of_the_call_at_the_end_of_a_step(step: str, code: str | None) -> None:
    assert called_code(step) == code


def test_prose_of_a_step_leaves_calls_out() -> None:
    assert without_calls("a <tool_call>x</tool_call> b <tool_call>y") == "a  b "


@given(
    st.lists(st.sampled_from(["a", "<", "<tool_call>", "</tool_call>", "x = 1", "</think>", "<|im_end|>", "\n"])),
    st.data(),
)
def test_prose_stream_does_not_depend_on_where_text_is_cut(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces) + " end <tool_call>"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    whole, cut = ProseStream(), ProseStream()
    deltas = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(cut.feed, deltas)) == whole.feed(text)
