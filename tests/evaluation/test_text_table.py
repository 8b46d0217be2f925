"""Tables as text."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support.hostile_text import SURROGATE, TEXTS, steers
from support.linear_time import assert_linear

from deepmath.evaluation.text_table import TableRow, TextTable, percent
from deepmath.printable_text import markdown_text


def test_markdown_escapes_names() -> None:
    table = TextTable(
        "",
        ("name", "number"),
        (
            TableRow(
                ("a|b\n<c>*d*", "1"),
            ),
        ),
    )
    assert table.markdown() == "| name | number |\n| -- | --: |\n| a\\|b &lt;c>\\*d\\* | 1 |\n"


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
PIECES = [*TEXTS.values(), SURROGATE, "[1](http://127.0.0.1)", "[1]: x", "1. a", "- [x] a", "> a", "---", "&#60;b>"]
SYNTAX = st.text(st.sampled_from("[](){}<>!*_`~|\\#+-=.:/@$&;^ax1 \n\t"), max_size=30)


@pytest.mark.parametrize("text", PIECES)
def test_hostile_text_in_markdown_is_only_text(text: str) -> None:
    check_is_text(text)


@given(SYNTAX | st.lists(st.sampled_from(PIECES), min_size=2, max_size=3).map("".join))
def test_no_text_is_markdown(text: str) -> None:
    check_is_text(text)


def check_is_text(text: str) -> None:
    """Check that `text` renders as itself, in a paragraph and in a table, without any element."""
    escaped = markdown_text(text)
    assert not steers(escaped, kept="")
    shown = unescape(MARKDOWN.render(escaped))
    inside = shown.removeprefix("<p>").removesuffix("\n").removesuffix("</p>")
    assert "".join(inside.split()) == "".join(unescape_markdown(escaped).split())
    row = MARKDOWN.render(TextTable("", ("name", "number"), (TableRow((text, text)),)).markdown())
    assert row.count("<td") == 2
    assert not re.search(r"<(?!/?(table|thead|tbody|tr|th|td)\b)", row)


def unescape_markdown(text: str) -> str:
    return unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text))


@pytest.mark.parametrize("piece", ["[", "![](", "<", "\\", ":/", "|", "1.", "a", "\x1b"])
def test_time_of_markdown_is_linear(piece: str) -> None:
    assert_linear(markdown_text, piece)


def test_csv_is_only_text() -> None:
    table = TextTable("", ("name", "number"), tuple(TableRow((text, "1")) for text in PIECES))
    assert not steers(table.csv())
    assert table.csv().count("\n") == len(PIECES) + 1


@pytest.mark.parametrize(("share", "text"), [(0.64449, "64.4"), (1, "100.0"), (0, "0.0"), (None, "")])
def test_percentages_have_one_decimal(share: float | None, text: str) -> None:
    assert percent(share) == text
