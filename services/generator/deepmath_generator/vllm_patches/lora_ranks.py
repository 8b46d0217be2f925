"""LoRA ranks for which vLLM can allocate memory.

Reason: vLLM accepts only some values for `max_lora_rank`, and adapters of smaller ranks fit as well.

Source: vllm/config/lora.py, `MaxLoRARanks`, a `Literal` of the accepted values.
"""

from typing import get_args

from deepmath_generator.vllm_patches.vllm_patch_error import applying


def supported_rank(rank: int) -> int:
    """Return the smallest accepted value of `max_lora_rank` that is at least `rank`.

    Raises:
        VllmPatchError: The table has changed, or `rank` exceeds it.
    """
    with applying("lora_ranks"):
        from vllm.config.lora import MaxLoRARanks

        ranks: tuple[int, ...] = get_args(MaxLoRARanks)
        return min(supported for supported in ranks if supported >= rank)
