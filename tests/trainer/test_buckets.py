"""Rows of like length together."""

from hypothesis import given
from hypothesis import strategies as st

from services.trainer.buckets import buckets


@given(st.lists(st.integers(1, 5000), max_size=80))
def test_every_row_is_in_one_bucket_with_rows_of_like_length(lengths: list[int]) -> None:
    found = buckets(lengths)
    assert sorted(index for bucket in found for index in bucket) == list(range(len(lengths)))
    for bucket in found:
        assert min(lengths[i] for i in bucket) >= 0.75 * max(lengths[i] for i in bucket)
