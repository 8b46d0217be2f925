"""Plain text in boxes, and what looks like LaTeX and is not."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.grading.boxed_text import plain_text


@pytest.mark.parametrize(
    ("boxed", "plain"),
    [
        (r"\text{red}", "red"),
        (r"$\text{red}$", "red"),
        (r"\(\mathrm{A}\)", "A"),
        (r"\texttt{a\_b}", "a_b"),
        (r"\text{Alice is a \textbf{knight}}", "Alice is a knight"),
        (r"\{\text{\"A\"}: 1\}", r"{\"A\": 1}"),
        (r"1\ 2\\3\ 4", "1 2\n3 4"),
        (r"\frac{3}{4}", "3/4"),
        (r"\dfrac{3}{4}", "3/4"),
        (r"2\times(3 + 4)\div 5", "2*(3 + 4)/ 5"),
        (r"\left[1, 2\right]", "[1, 2]"),
        (r"50\%", "50%"),
        (r"\text{a {b} c}", "a {b} c"),
        (r"\text{open", "open"),
        ("$5", "$5"),
        ("{1: 2}", "{1: 2}"),
        ("a b\nc ", "a b\nc "),
        ("~a~", "~a~"),
        ("", ""),
    ],
)
def test_plain_text(boxed: str, plain: str) -> None:
    assert plain_text(boxed) == plain


@given(st.text("ab{}\\$ \ntexfrc", max_size=60))
def test_any_text_is_read(boxed: str) -> None:
    plain_text(boxed)


@given(st.text(st.characters(exclude_characters="\\$"), max_size=60))
def test_text_without_latex_is_left_alone(boxed: str) -> None:
    assert plain_text(boxed) == boxed


@pytest.mark.parametrize("part", [r"\text{", r"\frac{", r"\frac{1}{", "{", "\\", r"\\ ", r"\text{a}", " \\", " "])
def test_time_is_linear(part: str) -> None:
    def seconds(count: int) -> float:
        text = "\\" + part * count
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            plain_text(text)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(20_000) < 16 * seconds(5_000) + 0.05
