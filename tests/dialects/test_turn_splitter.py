"""Division of a turn into thinking and answer, and stop sequences: wherever the text is cut, in linear time."""

from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.linear_time import assert_linear

from deepmath.dialects import DIALECTS
from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.stop_text import StopText
from deepmath.dialects.turn_splitter import TurnPart, TurnSplitter

TOOL_CALL = DIALECTS["tool-call"].marks
CUTS = st.sets(st.integers(1, 80))
TURNS = st.lists(
    st.sampled_from(["<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_end|>", "a", "\n", "<", "think", "|"]),
    max_size=12,
).map("".join)


def pieces(text: str, cuts: set[int]) -> list[str]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def split(
    text: str, cuts: set[int], *, thinking: bool = False, marks: CallMarks | None = TOOL_CALL
) -> tuple[list[tuple[str, str]], str]:
    """Return the stretches of one kind, and the call that is left open."""
    splitter = TurnSplitter(marks, thinking)
    parts: list[TurnPart] = [part for piece in pieces(text, cuts) for part in splitter.feed(piece)]
    rest, call = splitter.flush()
    kinds = groupby([*parts, *rest], key=lambda part: part.kind)
    return [(kind, "".join(part.text for part in group)) for kind, group in kinds], call


@pytest.mark.parametrize(
    ("text", "thinking", "parts", "call"),
    [
        ("<think>a</think>b", False, [("thought", "a"), ("said", "b")], ""),
        ("a</think>b", True, [("thought", "a"), ("said", "b")], ""),
        ("a</think>b", False, [("said", "ab")], ""),
        ("a<tool_call>1</tool_call>b<|im_end|>", False, [("said", "ab")], ""),
        ("<think>a<tool_call>1</tool_call>b</think>c", False, [("thought", "ab"), ("said", "c")], ""),
        ("a<tool_call>1 + 1", False, [("said", "a")], "1 + 1"),
        ("a < b <", False, [("said", "a < b <")], ""),
        ("a<tool_c", False, [("said", "a<tool_c")], ""),
    ],
)
def test_parts_of_a_turn(text: str, thinking: bool, parts: list[tuple[str, str]], call: str) -> None:
    assert split(text, set(), thinking=thinking) == (parts, call)


@given(TURNS, CUTS, st.booleans(), st.booleans())
def test_parts_do_not_depend_on_the_cuts(text: str, cuts: set[int], thinking: bool, calls: bool) -> None:
    marks = TOOL_CALL if calls else None
    assert split(text, cuts, thinking=thinking, marks=marks) == split(text, set(), thinking=thinking, marks=marks)


@given(st.text("abc", max_size=40), CUTS, st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_sequence(text: str, cuts: set[int], stop: list[str]) -> None:
    reader, read = StopText(stop), ""
    for piece in pieces(text, cuts):
        read += reader.feed(piece)
        if reader.found:
            break
    found = reader.found
    read += "" if found else reader.flush()
    assert found == any(one in text for one in stop)
    if found:
        assert text.startswith(read)
        assert any(text[len(read) :].startswith(one) for one in stop)
        assert not any(one in read for one in stop)
    else:
        assert read == text


@pytest.mark.parametrize("text", ["<", "<|", "<think>", "</think>", "<tool_call>", "a", "<|im_end|>"])
def test_splitting_takes_linear_time(text: str) -> None:
    def read(text: str) -> None:
        splitter, stop = TurnSplitter(TOOL_CALL), StopText(["b" * 64, "<x"])
        for start in range(0, len(text), 7):
            for part in splitter.feed(text[start : start + 7]):
                stop.feed(part.text)
        splitter.flush()

    assert_linear(read, text)
