"""Extraction of the boxed answer."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.grading.answer_extraction import MAX_BOX_CHARACTERS, extract_boxed


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
        (r"\boxed {42}", "42"),
        ("\\boxed\n  {42}", "42"),
        (r"\boxed 6", "6"),
        (r"$\boxed 42$", "42"),
        (r"\boxed6", "6"),
        (r"\boxed 3/4.", "3/4"),
        (r"\boxed -5", "-5"),
        (r"\boxed A", "A"),
        (r"\boxed\pi", r"\pi"),
        (r"\boxed\frac{1}{2}", r"\frac{1}{2}"),
        (r"\fbox{8}", "8"),
        (r"\fbox {8}", "8"),
        (r"\boxed{7} then \fbox{8}", "8"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{\fbox{5}}", "5"),
        (r"\boxed{x=\boxed{5}}", r"x=\boxed{5}"),
        (r"\boxed{a {\boxed{5}}", "5"),
        (r"\boxed{\left\{ x > 0 \right.}", r"\left\{ x > 0 \right."),
        (r"\boxed{\left. x \right\}}", r"\left. x \right\}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{a\\}", r"a\\"),
        (r"\boxed{a\\{b}}", r"a\\{b}"),
        (r"} stray \boxed{5}", "5"),
        (r"{ stray \boxed{5}", "5"),
        (r"\boxedsomething{5}", ""),
        (r"in \boxed form", ""),
        (r"\boxed", ""),
        ("\\", ""),
    ],
)
def test_last_complete_box_is_the_answer(text: str, answer: str) -> None:
    assert extract_boxed(text) == answer


@given(st.text(alphabet="\\boxedf {}1", max_size=60))
def test_any_text_has_a_balanced_answer_that_occurs_in_it(text: str) -> None:
    answer = extract_boxed(text)
    assert answer in text
    bare = answer.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
    assert bare.count("{") == bare.count("}")


def test_long_answer_is_cut() -> None:
    assert extract_boxed("\\boxed{" + "1" * 100_000 + "}") == "1" * MAX_BOX_CHARACTERS


@pytest.mark.parametrize(
    "hostile",
    [
        "\\boxed{",
        "\\boxed{}",
        "\\boxed ",
        "\\boxed{" * 3 + "}",
        "\\boxed \\frac{",
        "{",
        "}",
        "\\",
        "\\{",
        " ",
        "\\fbox\n",
    ],
)
def test_time_grows_in_proportion_to_the_text(hostile: str) -> None:
    def seconds(characters: int) -> float:
        text = hostile * (characters // len(hostile))
        started = time.process_time()
        extract_boxed(text)
        return time.process_time() - started

    short, long = (min(seconds(size) for _ in range(5)) for size in (100_000, 400_000))
    assert long < 12 * short + 0.01  # 16 times if quadratic, 4 times if linear
