"""Top-k and top-p on a CPU without sorting the vocabulary.

Reason: with top-p, vLLM sorts the logits of the whole vocabulary for every sampled token
(vllm/v1/sample/ops/topk_topp_sampler.py, `apply_top_k_top_p_pytorch`). With the 152 000 tokens of Qwen's vocabulary, 24
sequences and one core that is 60 % of a decoding step of a model of 0.5 B parameters. Here only the likeliest logits
are sorted: the k of top-k, or as many as have the probability of top-p.

What is kept depends on nothing but the row, so that a token's log-probability does not depend on its batch.
"""

import torch

from deepmath_generator.vllm_patches.vllm_patch_error import applying, require_parameters

_CANDIDATES = 1024  # sorted first with top-p alone; all are sorted if these are not probable enough


def replace_truncation() -> None:
    """Replace top-k and top-p of this process's sampler.

    Raises:
        VllmPatchError: They are missing or have another signature.
    """
    with applying("cpu.truncated_sampling"):
        from vllm.v1.sample.ops import topk_topp_sampler

        require_parameters(topk_topp_sampler.apply_top_k_top_p, "logits", "k", "p")
        topk_topp_sampler.apply_top_k_top_p = truncate


def truncate(logits: torch.Tensor, k: torch.Tensor | None, p: torch.Tensor | None) -> torch.Tensor:
    """Set the logits that top-k, and then top-p, exclude to minus infinity, in place; return them.

    Of equal logits all are kept or none. Shapes: logits [rows, vocabulary], k and p [rows]; a k of the vocabulary's
    size and a p of 1 exclude nothing.
    """
    rows, vocabulary = logits.shape
    counts = [vocabulary] * rows if k is None else k.tolist()
    shares = torch.ones(rows) if p is None else p.float()
    for count in set(counts):
        indices = torch.tensor([row for row in range(rows) if counts[row] == count])
        truncated = indices[shares[indices] < 1] if count == vocabulary else indices
        if len(truncated):
            chosen = logits[truncated]
            logits[truncated] = chosen.masked_fill_(chosen < _least_kept(chosen, count, shares[truncated]), -torch.inf)
    return logits


def _least_kept(logits: torch.Tensor, count: int, shares: torch.Tensor) -> torch.Tensor:
    """Return the smallest logit that is kept of the `count` largest. Shapes: [rows, 1]."""
    vocabulary = logits.shape[1]
    if count < vocabulary:
        chosen = logits.topk(count).values
        least = chosen[:, -1:]
        others = (logits >= least).sum(-1, keepdim=True) - count  # equal to the smallest, and kept with it
        largest = chosen.float()
        total = largest.logsumexp(-1, keepdim=True).logaddexp(least.float() + others.log())
        return _nucleus(largest, total, shares)[0].to(logits.dtype)
    total = logits.float().logsumexp(-1, keepdim=True)
    least, is_complete = _nucleus(logits.topk(min(_CANDIDATES, vocabulary)).values.float(), total, shares)
    if not is_complete.all():
        flat = ~is_complete
        least[flat] = _nucleus(logits[flat].sort(descending=True).values.float(), total[flat], shares[flat])[0]
    return least.to(logits.dtype)


def _nucleus(largest: torch.Tensor, total: torch.Tensor, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the smallest of the logits that together have the probability `shares`, and whether these suffice.

    Shapes: largest [rows, candidates] in descending order, total (the logarithm of the sum of all exponentials)
    [rows, 1], results [rows, 1] and [rows].
    """
    reached = (largest - total).exp().cumsum(-1)
    before = reached.roll(1, -1)
    before[:, 0] = 0
    kept = (before < shares[:, None]) | (shares[:, None] >= 1)
    return largest.gather(1, kept.sum(-1, keepdim=True).clamp(min=1) - 1), reached[:, -1] >= shares
