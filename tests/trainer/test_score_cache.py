"""Scores before the loss are reused in it, if the weights are the same."""

import pytest
import torch
from deepmath_trainer.score_cache import ScoreCache

IDS = torch.tensor([[7, 1, 2], [7, 3, 4]])
MASK = torch.ones_like(IDS)


class Model:
    """Scores each token by its id times a weight, and records which rows got a gradient."""

    def __init__(self) -> None:
        self.weight = torch.tensor(0.5, requires_grad=True)
        self.calls: list[tuple[list[int], bool]] = []

    def score(self, ids, _mask, scored, compute_entropy):
        self.calls.append((ids[:, 1].tolist(), torch.is_grad_enabled()))
        logprobs = ids[:, -scored:] * self.weight
        return logprobs, logprobs.detach() if compute_entropy else None, None


@pytest.fixture
def model() -> Model:
    return Model()


def score_before_loss(cache: ScoreCache, model: Model):
    with torch.no_grad():
        return cache.score(model.score, IDS, MASK, 2)


def test_reusable_scores_are_computed_once_and_have_a_gradient(model: Model) -> None:
    cache = ScoreCache(reusable=True, zero_advantage_is_zero_loss=True)
    cache.start_batch(torch.tensor([True, True]))
    before, _, _ = score_before_loss(cache, model)
    assert cache.is_filled
    assert not before.requires_grad
    with cache.loss(torch.tensor([1.0, -1.0])):
        inside, entropies, _ = cache.score(model.score, IDS, MASK, 2, compute_entropy=True)
    assert len(model.calls) == 1
    assert inside.requires_grad
    assert entropies is not None
    torch.testing.assert_close(inside.detach(), before)
    assert not cache.is_filled


def test_scores_of_other_weights_are_not_reused(model: Model) -> None:
    cache = ScoreCache(reusable=False, zero_advantage_is_zero_loss=True)
    cache.start_batch(torch.tensor([True, True]))
    score_before_loss(cache, model)
    with cache.loss(torch.tensor([1.0, -1.0])):
        cache.score(model.score, IDS, MASK, 2)
    assert [with_gradient for _, with_gradient in model.calls] == [False, True]


def test_rows_without_an_advantage_are_scored_without_a_gradient(model: Model) -> None:
    cache = ScoreCache(reusable=False, zero_advantage_is_zero_loss=True)
    with cache.loss(torch.tensor([0.0, 2.0])):
        cache.score(model.score, IDS, MASK, 2)
    assert model.calls == [([3], True), ([1], False)]


def test_all_rows_have_a_gradient_if_no_row_has_an_advantage_or_the_loss_has_other_terms(model: Model) -> None:
    for advantages, skip in ((torch.zeros(2), True), (torch.tensor([0.0, 2.0]), False)):
        model.calls.clear()
        cache = ScoreCache(reusable=False, zero_advantage_is_zero_loss=skip)
        with cache.loss(advantages):
            cache.score(model.score, IDS, MASK, 2)
        assert all(with_gradient for _, with_gradient in model.calls)


def test_new_batch_drops_the_scores_of_the_previous_one(model: Model) -> None:
    cache = ScoreCache(reusable=True, zero_advantage_is_zero_loss=True)
    cache.start_batch(torch.tensor([True, True]))
    score_before_loss(cache, model)
    cache.start_batch(torch.tensor([True, True]))
    assert not cache.is_filled
