"""Top-k and top-p without sorting the vocabulary keep what vLLM keeps, whatever else is in the batch."""

import inspect

import pytest
from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError

pytestmark = pytest.mark.vllm

VOCABULARY = 3000  # more than are sorted at first with top-p alone


def settings(rows: int, with_k: bool, with_p: bool):
    """Return k and p of each row; some exclude nothing."""
    import torch

    k, p = torch.randint(1, VOCABULARY + 1, (rows,)), torch.rand(rows) * 0.98 + 0.01
    k[torch.rand(rows) < 0.5] = VOCABULARY
    k[torch.rand(rows) < 0.2] = 20
    p[torch.rand(rows) < 0.3] = 1
    return (k if with_k else None), (p if with_p else None)


@pytest.mark.parametrize(("with_k", "with_p"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("seed", range(20))
def test_kept_tokens_are_those_of_vllm(with_k: bool, with_p: bool, seed: int) -> None:
    import torch
    from deepmath_generator.vllm_patches.cpu.truncated_sampling import truncate
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch

    torch.manual_seed(seed)
    logits = torch.randn(6, VOCABULARY) * torch.rand(6, 1) * 8  # from nearly uniform to nearly certain
    k, p = settings(6, with_k, with_p)
    expected = apply_top_k_top_p_pytorch(logits.clone(), k, p)
    truncated = truncate(logits.clone(), k, p)
    assert torch.equal(truncated[truncated.isfinite()], logits[truncated.isfinite()])
    # vLLM sums from the least likely token: rounded otherwise, the last token that is kept may be another one.
    different = (truncated.isfinite() != expected.isfinite()).sum(1)
    assert different.max() <= (1 if with_p else 0)
    assert different.float().mean() < 0.4


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.8, 0.95, 1.0])
def test_logits_that_equal_the_last_of_top_k_count_in_top_p(share: float) -> None:
    import torch
    from deepmath_generator.vllm_patches.cpu.truncated_sampling import truncate
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch

    torch.manual_seed(1)
    logits = torch.randn(50, VOCABULARY).bfloat16().float()  # a model in bfloat16 has many equal ones
    logits[0, :4] = torch.tensor([9.0, 8.0, 8.0, 8.0])
    k, p = torch.full((50,), 20), torch.full((50,), share)
    k[0] = 2
    expected, truncated = apply_top_k_top_p_pytorch(logits.clone(), k, p), truncate(logits.clone(), k, p)
    # vLLM keeps some of the logits that equal the smallest it keeps; here all of these are kept.
    least = expected.masked_fill(expected.isinf(), torch.inf).amin(-1, keepdim=True)
    assert torch.equal(truncated.isfinite(), logits >= least)


def test_equal_logits_are_kept_or_excluded_together() -> None:
    import torch
    from deepmath_generator.vllm_patches.cpu.truncated_sampling import truncate

    logits = torch.tensor([[5.0, 3.0, 3.0, 3.0, 0.0]])
    kept = truncate(logits.clone(), torch.tensor([2]), torch.tensor([0.95])).isfinite()
    assert kept.tolist() == [[True, True, True, True, False]]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_row_is_truncated_alike_whatever_else_is_in_its_batch(dtype: str) -> None:
    import torch
    from deepmath_generator.vllm_patches.cpu.truncated_sampling import truncate

    torch.manual_seed(0)
    logits = (torch.randn(40, VOCABULARY) * 3).to(getattr(torch, dtype))
    k, p = settings(40, with_k=True, with_p=True)
    together = truncate(logits.clone(), k, p)
    for row in range(len(logits)):
        own = slice(row, row + 1)
        assert torch.equal(truncate(logits[own].clone(), k[own], p[own]), together[own])


def test_sampler_of_the_process_uses_it(monkeypatch) -> None:
    from deepmath_generator.vllm_patches.cpu.truncated_sampling import replace_truncation, truncate
    from vllm.v1.sample.ops import topk_topp_sampler

    monkeypatch.setattr(topk_topp_sampler, "apply_top_k_top_p", topk_topp_sampler.apply_top_k_top_p)
    for _ in range(2):  # a second application changes nothing
        replace_truncation()
    assert topk_topp_sampler.apply_top_k_top_p is truncate
    assert "apply_top_k_top_p(logits, k, p)" in inspect.getsource(topk_topp_sampler.TopKTopPSampler.forward_cpu)


def test_vllm_still_sorts_the_vocabulary() -> None:
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch

    assert "logits.sort(" in inspect.getsource(apply_top_k_top_p_pytorch)


def test_sampler_with_another_signature_names_the_patch(monkeypatch) -> None:
    from deepmath_generator.vllm_patches.cpu.truncated_sampling import replace_truncation
    from vllm.v1.sample.ops import topk_topp_sampler

    monkeypatch.setattr(topk_topp_sampler, "apply_top_k_top_p", lambda logits: logits)
    with pytest.raises(VllmPatchError, match=r"`cpu.truncated_sampling` .*\('logits',\), not"):
        replace_truncation()
