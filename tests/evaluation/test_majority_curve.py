"""majority@k for every k, checked against an enumeration of all choices of k."""

from itertools import combinations, pairwise
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.evaluation.majority_curve import majority_curve
from deepmath.evaluation.majority_vote import majority_vote

classes = st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=9)


@given(classes)
def test_majority_at_k_is_the_mean_vote_over_all_choices(classes: list[int | None]) -> None:
    for k, found in enumerate(majority_curve(classes, 0), start=1):
        credit = sum(majority_vote(choice, 0).credit for choice in combinations(classes, k))
        assert found == pytest.approx(credit / comb(len(classes), k))


@given(classes)
def test_majority_of_all_samples_is_their_vote(classes: list[int | None]) -> None:
    assert majority_curve(classes, 0)[-1] == majority_vote(classes, 0).credit


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_majority_at_1_is_the_share_of_correct_samples(classes: list[int]) -> None:
    assert majority_curve(classes, 0)[0] == pytest.approx(classes.count(0) / len(classes))


@given(classes.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
def test_curve_does_not_depend_on_the_order_of_the_samples(orders: tuple[list[int | None], list[int | None]]) -> None:
    assert majority_curve(orders[0], 0) == majority_curve(orders[1], 0)


def test_hundreds_of_samples_are_handled() -> None:
    curve = majority_curve([0] * 90 + [1] * 60 + [2] * 40 + [None] * 10, 0)
    assert curve[0] == pytest.approx(0.45)
    assert curve[-1] == 1
    assert all(less <= more + 1e-12 for less, more in pairwise(curve))
