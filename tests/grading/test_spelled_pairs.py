"""Verdicts on the third catalogue."""

import pytest

from .comparison_in_process import decide
from .spelled_pairs import SPELLED


@pytest.mark.parametrize("verdict", [True, False])
def test_pairs_get_the_expected_verdict_in_both_roles(verdict: bool) -> None:
    pairs = [pair for gold, answer, own in SPELLED if own is verdict for pair in ((gold, answer), (answer, gold))]
    assert [pair for pair in pairs if decide(*pair) is not verdict] == []


def test_catalogue_is_large_and_has_no_duplicates() -> None:
    found = {pair[:2] for pair in SPELLED}
    assert len(found) == len(SPELLED) > 400
