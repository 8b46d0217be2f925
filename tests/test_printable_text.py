"""`deepmath.printable_text`: no text steers a terminal, and JSON keeps its value."""

import json
import re
import sys
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_text import STEERING, SURROGATE, TEXTS, steers
from support.linear_time import assert_linear

from deepmath.printable_text import json_line, printable, printable_line

ANY_TEXT = st.text(st.characters(exclude_categories=()))
STEERING_CHARACTERS = [
    one for one in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")
]


def test_every_control_and_format_character_of_unicode_is_escaped() -> None:
    for one in STEERING_CHARACTERS:
        shown = printable_line(f"a{one}b")
        assert re.fullmatch(r"a\\([nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})b", shown), ascii(one)
        assert json.loads(json_line(one)) == one


def test_newline_and_tab_are_layout_and_crlf_is_a_newline() -> None:
    assert printable("a\tb\r\nc\rd\n") == "a\tb\nc\\rd\n"
    assert printable_line("a\tb\r\nc") == r"a\tb\r\nc"


@pytest.mark.parametrize("text", ["½ π ≤ 10⁻³ 汉字 ñ é", "naïve — “x”", "👍🏽 ✓", "\u00a0\u3000"])
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert printable(text) == printable_line(text) == text
    assert json_line(text) == f'"{text}"'


@pytest.mark.parametrize("text", [*TEXTS.values(), SURROGATE])
def test_hostile_text_is_only_text(text: str) -> None:
    assert not steers(printable(text))
    assert not steers(printable_line(text), kept="")
    assert not steers(json_line({text: [text]}), kept="")


@given(ANY_TEXT)
def test_no_text_steers(text: str) -> None:
    assert not steers(printable(text))
    assert not steers(printable_line(text), kept="")
    assert printable(printable(text)) == printable(text)


@given(st.recursive(ANY_TEXT | st.none() | st.booleans() | st.integers(), st.lists), st.booleans())
def test_json_keeps_its_value(value: object, ascii_only: bool) -> None:
    line = json_line(value, ascii_only)
    assert not steers(line, kept="")
    assert json.loads(line) == value
    assert line.isascii() or not ascii_only


def test_line_is_cut_at_its_limit() -> None:
    assert printable_line("x" * 12, limit=10) == "xxxxxxxxxx... (2 more characters)"


@pytest.mark.parametrize("make", [printable, printable_line, json_line])
@pytest.mark.parametrize("piece", [*STEERING.values(), "\x1b", "\r", "x"])
def test_time_is_linear(make: Callable[[str], str], piece: str) -> None:
    assert_linear(make, piece)
