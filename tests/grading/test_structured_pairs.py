"""Verdicts on the second catalogue, and the size of both."""

from itertools import groupby

import pytest

from deepmath.grading.exact_comparison import compare_exactly
from deepmath.grading.verifier import Verifier

from .grading_pairs import PAIRS
from .structured_pairs import pairs

BY_KIND = {
    f"{kind}, {'equal' if verdict else 'unequal'}": [(gold, answer, verdict) for _, gold, answer, verdict in group]
    for (kind, verdict), group in groupby(pairs(), lambda pair: (pair[0], pair[3]))
}


@pytest.mark.parametrize("kind", BY_KIND)
def test_pairs_of_a_kind_get_the_expected_verdicts(patient: Verifier, kind: str) -> None:
    expected = BY_KIND[kind]
    verdicts = patient.verify([(gold, answer) for gold, answer, _ in expected])
    wrong = [pair for pair, verdict in zip(expected, verdicts, strict=True) if bool(verdict.correct) is not pair[2]]
    assert wrong == []


def test_most_pairs_are_decided_without_a_sandbox() -> None:
    decided = [compare_exactly(gold, answer) is not None for own in BY_KIND.values() for gold, answer, _ in own]
    assert sum(decided) > 0.8 * len(decided)


def test_exact_comparison_agrees_wherever_it_decides() -> None:
    for own in BY_KIND.values():
        for gold, answer, verdict in own:
            assert compare_exactly(gold, answer) in (None, verdict), (gold, answer)


def test_catalogue_is_large_and_consistent() -> None:
    found = {(gold, answer): verdict for _, gold, answer, verdict in pairs()}
    assert len(found) > 1000
    assert all(found[gold, answer] is verdict for _, gold, answer, verdict in pairs())
    assert sum(map(len, PAIRS.values())) > 480
