"""Rows of similar length are scored together, few at a time, and without a gradient where the loss needs none."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given
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
        self.calls: list[tuple[list[int], bool]] = []

    def score(self, ids: Any, _mask: Any, scored: int) -> tuple[Any, Any, None]:
        self.calls.append((ids[:, 1].tolist(), self._torch.is_grad_enabled()))
        logprobs = ids[:, -scored:] * self.weight
        return logprobs, logprobs.detach(), None


@pytest.fixture
def model(torch) -> Model:
    return Model(torch)


@pytest.fixture
def batch(torch) -> Any:
    """Two rows of one prompt token and two or one others."""
    from deepmath_trainer.padded_rows import PaddedRows

    return PaddedRows(torch.tensor([[7, 1, 2], [7, 3, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]), 2)


@given(lengths=st.lists(st.integers(1, 5000), max_size=80), most=st.integers(1, 9))
def test_every_row_is_in_one_bucket_with_few_rows_of_similar_length(scoring, lengths: list[int], most: int) -> None:
    found = scoring.buckets(lengths, most)
    assert sorted(index for bucket in found for index in bucket) == list(range(len(lengths)))
    for bucket in found:
        assert len(bucket) <= most
        assert min(lengths[i] for i in bucket) >= 0.75 * max(lengths[i] for i in bucket)


def test_scores_are_where_the_tokens_are_and_padding_has_none(model: Model, batch, scoring) -> None:
    logprobs, entropies = scoring.LogprobScoring(model.score, None, most_rows=8)(batch)
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
    model: Model, batch, scoring, torch, with_gradient, calls, gradient
) -> None:
    rows = None if with_gradient is None else torch.tensor(with_gradient)
    logprobs, _ = scoring.LogprobScoring(model.score, None, most_rows=8)(batch, rows)
    assert model.calls == calls
    logprobs.sum().backward()
    assert model.weight.grad == gradient


def test_no_row_gets_a_gradient_where_gradients_are_disabled(model: Model, batch, scoring, torch) -> None:
    with torch.no_grad():
        scoring.LogprobScoring(model.score, None, most_rows=1)(batch)
    assert model.calls == [([1], False), ([3], False)]


def random_rows(torch: Any, prompts: list[list[int]], lengths: list[int]) -> Any:
    """Return padded rows with these prompts and random completions of these lengths."""
    from deepmath_trainer.padded_rows import PaddedRows

    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest + max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        start, end = longest - len(prompt), longest + length
        ids[row, start:end] = torch.tensor(prompt + torch.randint(0, 32, (length,)).tolist())
        mask[row, start:end] = 1
    return PaddedRows(ids, mask, max(lengths))


@pytest.fixture(scope="module")
def language_model(torch) -> Any:
    """A small model with TRL's output layer, in evaluation mode as in training: it has no dropout."""
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape = Qwen3Config(vocab_size=32, head_dim=8, num_key_value_heads=2, initializer_range=0.3, **sizes)
    model = Qwen3ForCausalLM(shape)
    add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", "entropy"))
    return model


def trl_scores(torch: Any, model: Any, batch: Any) -> tuple[Any, Any]:
    """Return the scores as TRL computes them, on the padded rows."""
    labels = batch.ids.masked_fill(batch.mask == 0, -100)
    labels[:, : -batch.scored] = -100
    output = model(input_ids=batch.ids, attention_mask=batch.mask, labels=labels, fused_lm_head=True)
    return output.log_probs[:, -batch.scored :], output.entropy[:, -batch.scored :]


def shared_scores(torch: Any, scoring: Any, model: Any, batch: Any, monkeypatch: Any) -> tuple[Any, Any, list[int]]:
    """Return the scores, and how many tokens were read in each call, with any prompt of two rows read once."""
    from deepmath_trainer.trl_patches.shared_prompt import score_completions

    read: list[int] = []

    def counting(**inputs: Any) -> Any:
        read.append(inputs["input_ids"].numel())
        return model(**inputs)

    monkeypatch.setattr(scoring, "_LEAST_SAVED", 1)

    def score(ids: Any, mask: Any, scored: int) -> tuple[Any, Any, None]:
        from deepmath_trainer.padded_rows import PaddedRows

        read.append(ids.numel())
        return *trl_scores(torch, model, PaddedRows(ids, mask, scored)), None

    found = scoring.LogprobScoring(score, partial(score_completions, counting), most_rows=4)(batch)
    return *found, read


@pytest.mark.parametrize(
    ("prompts", "lengths"),
    [
        ([[1, 2, 3]] * 4, [5, 5, 5, 5]),
        ([[1, 2, 3]] * 4, [1, 9, 2, 30]),
        ([[1]] * 3, [3, 4, 1]),
        ([[1, 2, 3], [4, 5], [1, 2, 3], [6], [4, 5]], [3, 8, 20, 2, 9]),
        ([[1, 2]] * 7, [3, 5, 4, 6, 2, 8, 1]),
    ],
    ids=["equal lengths", "any lengths", "prompt of one token", "several prompts", "more than a call may have"],
)
def test_scores_and_gradients_of_a_prompt_that_is_read_once_are_those_of_trl(
    torch, scoring, language_model, monkeypatch, prompts, lengths
) -> None:
    batch = random_rows(torch, prompts, lengths)
    weights = torch.linspace(-1, 1, batch.mask[:, -batch.scored :].numel()).view(len(lengths), -1)
    results = []
    for score in (partial(shared_scores, torch, scoring, monkeypatch=monkeypatch), partial(trl_scores, torch)):
        language_model.zero_grad()
        logprobs, entropies, *read = score(model=language_model, batch=batch)
        (logprobs * weights * batch.mask[:, -batch.scored :]).sum().backward()
        scored = batch.mask[:, -batch.scored :].bool()
        gradients = [weight.grad.clone() for weight in language_model.parameters()]
        results.append((logprobs.detach()[scored], entropies.detach()[scored], gradients))
        if read:
            assert max(read[0]) <= 4 * max(lengths) + 4, "a prompt was read with several completions"
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-5)


def test_short_prompts_are_read_with_each_row(torch, scoring, language_model) -> None:
    from deepmath_trainer.trl_patches.shared_prompt import score_completions

    batch, calls = random_rows(torch, [[1, 2, 3]] * 3, [4, 4, 4]), []

    def score(*block: Any) -> tuple[Any, Any, None]:
        from deepmath_trainer.padded_rows import PaddedRows

        calls.append(len(block[0]))
        return *trl_scores(torch, language_model, PaddedRows(*block)), None

    scoring.LogprobScoring(score, partial(score_completions, None), most_rows=8)(batch)
    assert calls == [3]
