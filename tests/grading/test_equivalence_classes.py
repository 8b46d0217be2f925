r"""Equivalence classes of answers: a partition, whatever the order of the answers, at a bounded cost."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmath.grading import equivalence_classes as module
from deepmath.grading.equivalence_classes import AnswerPair, equivalence_classes
from deepmath.grading.verdict import Reason, Verdict
from deepmath.grading.verifier import Verifier

# Equal expressions, which only a symbolic comparison can tell.
DOUBLE, PRODUCT = r"\sin(2x)", r"2\sin x\cos x"
ANSWERS = [
    DOUBLE,
    PRODUCT,
    "1/2",
    "0.5",
    "50",
    r"50\%",
    "x+1",
    "1+x",
    r"\sqrt{4}",
    "2",
    "(x+1)^2",
    "x^2+2x+1",
    "???",
    "Yes",
    r"\text{yes}",
]


def classes(answers: Sequence[str], verify: module.Verify | None) -> set[frozenset[str]]:
    (number,) = equivalence_classes([answers], verify)
    return {frozenset(text for text in number if number[text] == at) for at in number.values()}


class Counted:
    """Counts the comparisons that reach `verify`, and gives them all one verdict."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict, self.pairs = verdict, 0

    def __call__(self, pairs: Sequence[AnswerPair]) -> list[Verdict]:
        self.pairs += len(pairs)
        return [self.verdict] * len(pairs)


def test_equal_answers_form_one_class(patient: Verifier) -> None:
    answers = ["1/2", "0.5", "x+1", "1+x", DOUBLE, PRODUCT, "2", r"\sqrt{4}", "Yes", r"\text{yes}", "7", ""]
    expected = [{"1/2", "0.5"}, {"x+1", "1+x"}, {DOUBLE, PRODUCT}, {"2", r"\sqrt{4}"}, {"Yes", r"\text{yes}"}, {"7"}]
    assert classes(answers, patient.verify) == set(map(frozenset, expected))


def test_chain_of_equal_pairs_does_not_join_different_answers(patient: Verifier) -> None:
    (number,) = equivalence_classes([["50", r"50\%", r"50\%", "0.5"]], patient.verify)
    assert number[r"50\%"] == 0  # the most frequent leads, and takes both
    (number,) = equivalence_classes([["50", "50", r"50\%", "0.5"]], patient.verify)
    assert number["50"] == number[r"50\%"] != number["0.5"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=8).flatmap(
        lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))
    )
)
def test_classes_are_a_partition_and_do_not_depend_on_the_order(
    patient: Verifier, drawn: tuple[list[str], list[str]]
) -> None:
    first, second = (equivalence_classes([answers], patient.verify)[0] for answers in drawn)
    assert first == second
    assert first.keys() == set(drawn[0])
    assert set(first.values()) == set(range(len(set(first.values()))))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from(ANSWERS), max_size=5), max_size=4))
def test_votes_do_not_affect_each_other(patient: Verifier, votes: list[list[str]]) -> None:
    assert equivalence_classes(votes, patient.verify) == [
        equivalence_classes([answers], patient.verify)[0] for answers in votes
    ]


def test_without_a_verifier_only_exact_comparisons_merge() -> None:
    assert classes(["1/2", "0.5", DOUBLE, PRODUCT, "Yes", r"\text{yes}"], None) == set(
        map(frozenset, [{"1/2", "0.5"}, {DOUBLE}, {PRODUCT}, {"Yes", r"\text{yes}"}])
    )


def test_spellings_of_numbers_and_words_need_no_symbolic_comparison() -> None:
    verify = Counted(Verdict(True, Reason.SAME_VALUE))
    equivalence_classes([["1/2", "0.5", "3", ""], ["Yes", r"\text{No}", "no"]], verify)
    assert verify.pairs == 0


@pytest.mark.parametrize("reason", [Reason.DIFFERENT, Reason.FAILED, Reason.GOLD_UNREADABLE, *sorted(module._COSTLY)])
def test_number_of_comparisons_is_bounded(reason: Reason) -> None:
    verify = Counted(Verdict(None, reason))
    answers = [rf"\int_0^1 x^{{{number}}}\,dx" for number in range(1000)]
    assert len(classes(answers, verify)) == len(answers)
    limit = module.MOST_COSTLY + module._BATCH if reason in module._COSTLY else module.MOST_COMPARISONS
    assert 0 < verify.pairs <= limit


LONG_SUM = "+".join(f"x^{{{power}}}" for power in range(120))


@pytest.mark.parametrize(
    "answers",
    [
        [f"{LONG_SUM}+{number}" for number in range(64)],
        ["9" * 9_000 + str(number) for number in range(1024)],
        [f"{number}" for number in range(1024)],
        [r"\frac{1}{" * 70 + str(number) + "}" * 70 for number in range(64)],
    ],
    ids=["sums", "too long", "numbers", "fractions"],
)
def test_number_of_exact_comparisons_is_bounded(answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(gold: str, answer: str) -> bool | None:
        compared.append((len(gold) + len(answer)) ** 2)
        return False

    monkeypatch.setattr(module, "compare_exactly", counted)
    assert len(classes(answers, None)) == len(answers)
    assert sum(compared) <= module.MOST_SQUARED_CHARACTERS
    assert len(compared) <= module.MOST_LEADERS * module.MOST_ANSWERS


def test_costly_answer_is_compared_once() -> None:
    asked: list[AnswerPair] = []

    def verify(pairs: Sequence[AnswerPair]) -> list[Verdict]:
        asked.extend(pairs)
        costly = Verdict(False, Reason.ANSWER_TIMEOUT)
        return [costly if "9" in answer else Verdict(False, Reason.DIFFERENT) for _, answer in pairs]

    answers = [rf"\int_0^1 x^{{{number}}}\,dx" for number in (2, 3, 4, 9)]
    assert len(classes(answers, verify)) == 4
    assert len([pair for pair in asked if answers[-1] in pair]) == 1
