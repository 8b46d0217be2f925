"""Rows of similar length are scored together, few at a time, and without a gradient where the loss needs none."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    return torch


@pytest.fixture(scope="module")
def scoring() -> Any:
    """The module, which imports torch."""
    from deepmath_trainer import logprob_scoring

    return logprob_scoring


class Model:
    """Scores each token by its id times a weight, and records which rows got a gradient."""

    def __init__(self, torch: Any) -> None:
        self._torch, self.weight = torch, torch.tensor(0.5, requires_grad=True)
        self.batch = torch.tensor([[7, 1, 2], [7, 3, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]), 2
        self.calls: list[tuple[list[int], bool]] = []

    def score(self, ids: Any, _mask: Any, scored: int, compute_entropy: bool = False) -> tuple[Any, Any, None]:
        self.calls.append((ids[:, 1].tolist(), self._torch.is_grad_enabled()))
        logprobs = ids[:, -scored:] * self.weight
        return logprobs, logprobs.detach() if compute_entropy else None, None


@pytest.fixture
def model(torch) -> Model:
    return Model(torch)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 5000), max_size=80), most=st.integers(1, 9))
def test_every_row_is_in_one_bucket_with_few_rows_of_similar_length(scoring, lengths: list[int], most: int) -> None:
    found = scoring.buckets(lengths, most)
    assert sorted(index for bucket in found for index in bucket) == list(range(len(lengths)))
    for bucket in found:
        assert len(bucket) <= most
        assert min(lengths[i] for i in bucket) >= 0.75 * max(lengths[i] for i in bucket)


def test_scores_are_where_the_tokens_are_and_padding_has_none(model: Model, scoring, torch) -> None:
    logprobs, entropies = scoring.score_rows(model.score, *model.batch, batch_size=8, compute_entropy=True)
    assert logprobs.tolist() == entropies.tolist() == [[0.5, 1], [1.5, 0]]
    logprobs.sum().backward()
    assert model.weight.grad == 6


@pytest.mark.parametrize(
    ("with_gradient", "calls", "gradient"),
    [
        ([False, True], [([3], True), ([1], False)], 3),
        ([False, False], [([3], True), ([1], False)], 3),
        (None, [([1], True), ([3], True)], 6),
    ],
    ids=["one row has an advantage", "no row: the shortest", "the loss has other terms"],
)
def test_rows_without_an_advantage_are_scored_without_a_gradient(
    model: Model, scoring, torch, with_gradient, calls, gradient
) -> None:
    rows = None if with_gradient is None else torch.tensor(with_gradient)
    logprobs, _ = scoring.score_rows(model.score, *model.batch, batch_size=8, gradient_rows=rows)
    assert model.calls == calls
    logprobs.sum().backward()
    assert model.weight.grad == gradient


def test_no_row_gets_a_gradient_where_gradients_are_disabled(model: Model, scoring, torch) -> None:
    with torch.no_grad():
        scoring.score_rows(model.score, *model.batch, batch_size=1)
    assert model.calls == [([1], False), ([3], False)]
