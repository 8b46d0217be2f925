"""Extraction of the boxed answer."""

import pytest

from deepmath.grading.answer_extraction import extract_boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{12}.", "12"),
        (r"\boxed{1}, no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 7 }", "7"),
        (r"\boxed{5} and then \boxed{6", "5"),
        ("no box", ""),
        (r"\boxed{never closed", ""),
        (r"\boxed{}", ""),
    ],
)
def test_last_complete_box_is_the_answer(text: str, answer: str) -> None:
    assert extract_boxed(text) == answer
