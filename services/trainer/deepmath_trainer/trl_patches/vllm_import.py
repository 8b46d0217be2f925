"""Keeps TRL from importing vLLM in environments that have both."""

from trl import import_utils


def prevent_vllm_import() -> None:
    """Make TRL believe that vLLM is not installed. Call it before `trl.GRPOTrainer` is imported.

    `trl/generation/vllm_generation.py` and `trl/generation/vllm_client.py` import vLLM at module level if
    `trl.import_utils.is_vllm_available()` returns true, and no setting turns that off. The import takes half a minute,
    and the trainer samples through the generator service. No upstream issue is known.
    """
    import_utils.is_vllm_available = lambda *_, **__: False
