"""Verdicts on a catalogue of answers, including answers that cannot be compared in any reasonable time."""

from collections.abc import Iterator

import pytest

from deepmath.grading.verdict import Reason
from deepmath.grading.verifier import Verifier

from .grading_pairs import ENDLESS, ENDLESS_GOLDS, KNOWN_LIMITS, PAIRS

TIMEOUT_S = 0.5  # a third of what the fastest endless comparison takes on a fast machine


def label(gold: str, answer: str) -> str:
    short = (text if len(text) <= 40 else f"{text[:30]}... ({len(text)} characters)" for text in (gold, answer))
    return ascii(" <- ".join(short))[1:-1]


@pytest.fixture(scope="module")
def hurried() -> Iterator[Verifier]:
    with Verifier(1, TIMEOUT_S) as verifier:
        yield verifier


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [pytest.param(*pair, id=f"{kind}: {label(*pair[:2])}") for kind, pairs in PAIRS.items() for pair in pairs],
)
def test_answer_gets_the_expected_verdict(patient: Verifier, gold: str, answer: str, verdict: bool | None) -> None:
    before = patient.reasons[Reason.FAILED]
    assert patient.verify([(gold, answer)])[0].correct is verdict
    assert patient.reasons[Reason.FAILED] == before


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [pytest.param(*limit[:3], id=f"{limit[3]}: {label(*limit[:2])}") for limit in KNOWN_LIMITS],
)
def test_known_limit_is_unchanged(patient: Verifier, gold: str, answer: str, verdict: bool | None) -> None:
    before = patient.reasons[Reason.FAILED]
    assert patient.verify([(gold, answer)])[0].correct is verdict
    assert patient.reasons[Reason.FAILED] == before


def test_endless_comparisons_are_the_fault_of_who_wrote_them(hurried: Verifier) -> None:
    verdicts = dict(zip(ENDLESS, hurried.verify(list(ENDLESS.values())), strict=True))
    assert {name for name, verdict in verdicts.items() if verdict.correct is not False} == ENDLESS_GOLDS
    assert all(verdicts[name].correct is None for name in ENDLESS_GOLDS)


def test_catalogue_is_large_and_has_no_duplicates() -> None:
    pairs = [pair[:2] for kind in PAIRS.values() for pair in kind]
    pairs += [*ENDLESS.values(), *((gold, answer) for gold, answer, *_ in KNOWN_LIMITS)]
    assert len(pairs) == len(set(pairs)) > 220
