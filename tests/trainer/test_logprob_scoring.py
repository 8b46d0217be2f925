"""Rows of similar length are scored together, and scores are found by row."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def scoring() -> Any:
    """The module, which imports torch."""
    from deepmath_trainer import logprob_scoring

    return logprob_scoring


@given(lengths=st.lists(st.integers(1, 5000), max_size=80))
def test_every_row_is_in_one_bucket_with_rows_of_similar_length(scoring, lengths: list[int]) -> None:
    found = scoring.buckets(lengths)
    assert sorted(index for bucket in found for index in bucket) == list(range(len(lengths)))
    for bucket in found:
        assert min(lengths[i] for i in bucket) >= 0.75 * max(lengths[i] for i in bucket)


def test_scores_are_found_by_row_and_equal_rows_prefer_the_one_with_a_gradient(scoring) -> None:
    import torch

    ids = torch.tensor([[1, 2], [1, 3], [1, 2]])
    logprobs = torch.tensor([[0.1], [0.2], [0.1]], requires_grad=True)
    found, _ = scoring.TokenLogprobs(ids, torch.tensor([False, False, True]), logprobs, torch.zeros(3, 1)).of(
        ids[[1, 2, 0]]
    )
    assert found.flatten().tolist() == logprobs[[1, 2, 0]].flatten().tolist()
    found.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.flatten().tolist() == [0, 1, 2]
