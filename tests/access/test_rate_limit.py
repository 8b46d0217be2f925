"""Token buckets, one per caller."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.access.rate_limit import RateLimit


def test_burst_starts_at_once_and_the_next_start_waits_for_a_token():
    limit = RateLimit[str](per_second=2, burst=3)
    assert [limit.take("a", now=10) for _ in range(4)] == [0, 0, 0, 0.5]


def test_waiting_starts_follow_one_another():
    limit = RateLimit[str](per_second=2, burst=1)
    assert [limit.take("a", now=0) for _ in range(4)] == [0, 0.5, 1, 1.5]


def test_tokens_refill_up_to_the_burst():
    limit = RateLimit[str](per_second=1, burst=2)
    assert [limit.take("a", now=0) for _ in range(2)] == [0, 0]
    assert [limit.take("a", now=100) for _ in range(3)] == [0, 0, 1]


def test_callers_do_not_share_tokens():
    limit = RateLimit[str](per_second=1, burst=1)
    assert limit.take("a", now=0) == 0
    assert limit.delay("a", now=0) == 1
    assert limit.delay("b", now=0) == 0


def test_token_of_a_start_that_did_not_happen_can_be_returned():
    limit = RateLimit[str](per_second=1, burst=1)
    limit.take("a", now=0)
    limit.take("a", now=0)
    limit.give_back("a")
    assert limit.delay("a", now=0) == pytest.approx(1)


def test_rate_of_zero_means_no_limit():
    limit = RateLimit[str](per_second=0, burst=1)
    assert {limit.take("a", now=0) for _ in range(1000)} == {0}


def test_callers_with_full_buckets_are_forgotten():
    limit = RateLimit[int](per_second=10, burst=5)
    for second in range(1000):
        limit.take(second, now=float(second))
    assert len(limit._full_at) == 1


@given(
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
    rate=st.floats(0.5, 20),
    burst=st.integers(min_value=1, max_value=8),
)
def test_no_window_exceeds_the_burst_plus_its_share_of_the_rate(gaps, rate, burst):
    limit = RateLimit[str](rate, burst)
    now, starts = 0.0, []
    for gap in gaps:
        now += gap
        starts.append(now + limit.take("a", now))
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            assert last - first + 1 <= burst + rate * (starts[last] - starts[first]) + 1e-6
