"""Log-probabilities of sampled tokens, read from vLLM's flat layout.

Reason: with `flat_logprobs=True` vLLM returns parallel lists of numbers instead of a dictionary of objects per
position, which for thousands of trajectories costs a third object per token and the garbage collector's time. Reading
them through the documented sequence interface would create those dictionaries after all.

Source: vllm/logprobs.py, `FlatLogprobs` and `append_logprobs_for_next_position`: the entries of a position are
adjacent, from `start_indices[position]` on, and the first is the sampled token's.
"""

from typing import Any

from deepmath_generator.vllm_patches.vllm_patch_error import applying


def sampled_logprobs(logprobs: Any) -> list[float]:
    """Return the log-probability of the sampled token at each position.

    Raises:
        VllmPatchError: The layout has changed.
    """
    with applying("flat_logprobs"):
        return [logprobs.logprobs[first] for first in logprobs.start_indices]
