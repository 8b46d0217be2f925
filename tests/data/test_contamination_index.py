"""Repeated questions are found whatever their spelling, and questions with other numbers are not."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.data.contamination_index import ContaminationIndex, SeenQuestions
from deepmath.data.question_tokens import question_key, question_tokens
from deepmath.evaluation.benchmark_registry import find_benchmark

SHARED = Path(__file__).parents[3] / "shared" / "data"
QUESTION = (
    "A baker sells 24 loaves on Monday, and twice as many on Tuesday. Each loaf costs $3.50$ dollars. "
    r"If $\frac{1}{4}$ of the $x^{2}+1$ loaves are left, how many dollars does the baker earn in total?"
)
SPELLINGS: dict[str, Callable[[str], str]] = {
    "upper case": lambda text: text.upper().replace(r"\FRAC", r"\frac"),
    "spaces": lambda text: "  \n" + text.replace(" ", " \t\n "),
    "dollar signs": lambda text: text.replace("$", ""),
    "parentheses": lambda text: re.sub(r"\$([^$]*)\$", r"\\(\1\\)", text),
    "spacing commands": lambda text: text.replace("+", r"\,+\;\quad "),
    "sizes": lambda text: text.replace(r"\frac", r"\dfrac"),
    "short fraction": lambda text: text.replace(r"\frac{1}{4}", r"\frac14"),
    "braces": lambda text: text.replace("^{2}", "^2"),
    "unicode": lambda text: text.replace("^{2}", "²"),
    "full width": lambda text: text.replace("24", "\uff12\uff14"),
    "punctuation": lambda text: re.sub(r"(?<!\\),", "", text).rstrip("?"),
}
numbers = st.integers(0, 10**6)


def key(text: str) -> bytes:
    return question_key(question_tokens(text))


@pytest.mark.parametrize("change", SPELLINGS.values(), ids=SPELLINGS)
def test_question_in_another_spelling_is_the_same(change: Callable[[str], str]) -> None:
    assert change(QUESTION) != QUESTION
    assert key(change(QUESTION)) == key(QUESTION)
    found = ContaminationIndex(["Another?", QUESTION]).match(change(QUESTION))
    assert found
    assert (found.number, found.overlap) == (1, 1.0)


@given(st.lists(st.sampled_from(sorted(SPELLINGS.keys() - {"upper case"})), min_size=2, max_size=6))
def test_spellings_combine(names: list[str]) -> None:
    text = QUESTION
    for name in names:
        if not (name == "short fraction" and "sizes" in names):
            text = SPELLINGS[name](text)
    assert key(text) == key(QUESTION)


@given(st.integers(0, len(re.findall(r"\d+", QUESTION)) - 1), numbers)
def test_question_with_another_number_is_another(which: int, number: int) -> None:
    found = list(re.finditer(r"\d+", QUESTION))[which]
    text = QUESTION[: found.start()] + str(number) + QUESTION[found.end() :]
    if str(number) != found[0]:
        assert key(text) != key(QUESTION)
        assert ContaminationIndex([QUESTION]).match(text) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5!", "5"),
        ("-5", "5"),
        ("1,2", "12"),
        ("1.5", "15"),
        ("x^2", "x_2"),
        ("x<y", "x>y"),
        (r"\{1\}", "1"),
        ("f'(x)", "f(x)"),
        ("5%", "5"),
        ("2:3", "2 3"),
        (r"\sin x", r"\cos x"),
        ("|x|", "x"),
    ],
)
def test_signs_and_symbols_matter(one: str, other: str) -> None:
    assert key(f"Find {one}.") != key(f"Find {other}.")


def test_question_within_another_or_reworded_in_part_is_found() -> None:
    index = ContaminationIndex([QUESTION, "What is $2 + 3$?"])
    for text in (
        f"Solve this problem of 2024 with care. {QUESTION} Explain each of your 3 steps.",
        QUESTION.replace("A baker sells", "Last week a shop in the town sold"),
    ):
        found = index.match(text)
        assert found
        assert found.number == 0
        assert 0.5 <= found.overlap <= 1


def test_template_with_other_numbers_is_not_contaminated() -> None:
    text = "What is the greatest common divisor of {} and {}? Give the answer as one whole number without any unit."
    index = ContaminationIndex(text.format(n, n + 7) for n in range(50))
    assert index.match(text.format(1, 9)) is None
    assert index.match(text.format(3, 10).upper()) is not None


@given(st.text() | st.text(alphabet="\\${}fracleft123 "))
def test_any_text_is_found_again(text: str) -> None:
    tokens = question_tokens(text)
    assert (ContaminationIndex([text]).match(text) is not None) == bool(tokens)
    seen = SeenQuestions()
    assert [seen.add(text), seen.add("other words"), seen.add(text)][::2] == [None, 0]


@pytest.mark.parametrize("unit", ["a b ", "1 ", r"\frac", "{", "$", "²", r"\frac 1 ", "word number {} "])
def test_time_is_linear(unit: str) -> None:
    def seconds(count: int) -> float:
        text = "".join(unit.format(n) if "{}" in unit else unit for n in range(count))
        start = time.process_time()
        ContaminationIndex([text]).match(text + " end")
        return time.process_time() - start

    seconds(1000)
    assert seconds(80_000) < 8 * max(seconds(20_000), 0.02)


def test_time_is_linear_where_all_questions_share_their_phrases() -> None:
    def seconds(count: int) -> float:
        texts = [f"{QUESTION} Case {n} of the many cases that this teacher has written." for n in range(count)]
        start = time.process_time()
        index = ContaminationIndex(texts)
        assert all(index.match(text) for text in texts)
        return time.process_time() - start

    seconds(10)
    assert seconds(1200) < 8 * max(seconds(300), 0.02)


def test_real_sets_are_clean_and_an_injected_question_is_found() -> None:
    if not (SHARED / "gsm8k_train.jsonl").is_file():
        pytest.skip("GSM8K is not at hand")
    train = [one.text for one in find_benchmark(f"gsm8k-train={SHARED / 'gsm8k_train.jsonl'}").problems()]
    test = [one.text for one in find_benchmark(f"gsm8k={SHARED / 'gsm8k_test.jsonl'}").problems()]
    index, seen = ContaminationIndex(test), SeenQuestions()
    assert [text for text in train[:1500] if index.match(text)] == []
    assert [text for text in train if seen.add(text) is not None] == []
    for number in range(0, len(test), 100):
        found = index.match(f"Consider this. {test[number].upper()}")
        assert found
        assert found.number == number
