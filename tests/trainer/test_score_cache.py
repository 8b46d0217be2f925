"""Scores before the loss are reused in it, if the weights are the same."""

from typing import Any

import pytest


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    return torch


@pytest.fixture(scope="module")
def new_cache(torch) -> Any:
    from deepmath_trainer.score_cache import ScoreCache

    return ScoreCache


class Model:
    """Scores each token by its id times a weight, and records which rows got a gradient."""

    def __init__(self, torch: Any) -> None:
        self._torch, self.weight = torch, torch.tensor(0.5, requires_grad=True)
        self.batch = torch.tensor([[7, 1, 2], [7, 3, 4]]), torch.ones(2, 3), 2
        self.calls: list[tuple[list[int], bool]] = []

    def score(self, ids, _mask, scored, compute_entropy):
        self.calls.append((ids[:, 1].tolist(), self._torch.is_grad_enabled()))
        logprobs = ids[:, -scored:] * self.weight
        return logprobs, logprobs.detach() if compute_entropy else None, None


@pytest.fixture
def model(torch) -> Model:
    return Model(torch)


def score_before_loss(cache: Any, model: Model, torch: Any) -> Any:
    with torch.no_grad():
        return cache.score(model.score, *model.batch)


def test_reusable_scores_are_computed_once_and_have_a_gradient(model: Model, new_cache, torch) -> None:
    cache = new_cache(reusable=True, zero_advantage_is_zero_loss=True)
    cache.start_batch(torch.tensor([True, True]))
    before, _, _ = score_before_loss(cache, model, torch)
    assert cache.is_filled
    assert not before.requires_grad
    with cache.loss(torch.tensor([1.0, -1.0])):
        inside, entropies, _ = cache.score(model.score, *model.batch, compute_entropy=True)
    assert len(model.calls) == 1
    assert inside.requires_grad
    assert entropies is not None
    torch.testing.assert_close(inside.detach(), before)
    assert not cache.is_filled


def test_scores_of_other_weights_are_not_reused(model: Model, new_cache, torch) -> None:
    cache = new_cache(reusable=False, zero_advantage_is_zero_loss=True)
    cache.start_batch(torch.tensor([True, True]))
    score_before_loss(cache, model, torch)
    with cache.loss(torch.tensor([1.0, -1.0])):
        cache.score(model.score, *model.batch)
    assert [with_gradient for _, with_gradient in model.calls] == [False, True]


def test_rows_without_an_advantage_are_scored_without_a_gradient(model: Model, new_cache, torch) -> None:
    cache = new_cache(reusable=False, zero_advantage_is_zero_loss=True)
    with cache.loss(torch.tensor([0.0, 2.0])):
        cache.score(model.score, *model.batch)
    assert model.calls == [([3], True), ([1], False)]


def test_all_rows_have_a_gradient_if_no_row_has_an_advantage_or_the_loss_has_other_terms(
    model: Model, new_cache, torch
) -> None:
    for advantages, skip in ((torch.zeros(2), True), (torch.tensor([0.0, 2.0]), False)):
        model.calls.clear()
        cache = new_cache(reusable=False, zero_advantage_is_zero_loss=skip)
        with cache.loss(advantages):
            cache.score(model.score, *model.batch)
        assert all(with_gradient for _, with_gradient in model.calls)


def test_new_batch_drops_the_scores_of_the_previous_one(model: Model, new_cache, torch) -> None:
    cache = new_cache(reusable=True, zero_advantage_is_zero_loss=True)
    cache.start_batch(torch.tensor([True, True]))
    score_before_loss(cache, model, torch)
    cache.start_batch(torch.tensor([True, True]))
    assert not cache.is_filled
