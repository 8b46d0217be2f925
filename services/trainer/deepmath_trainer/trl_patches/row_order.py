"""The order of a batch's rows over its backward passes."""

from typing import Any

from trl.trainer import grpo_trainer


def keep_groups_together() -> None:
    """Make TRL leave a batch in the order in which it was sampled, in this whole process.

    `GRPOTrainer._prepare_inputs` shuffles the rows by `shuffle_sequence_dict` before it divides them, which matters
    only if a batch has several optimizer steps. No upstream issue is known.
    """
    grpo_trainer.shuffle_sequence_dict = _unchanged


def _unchanged(rows: dict[str, Any]) -> dict[str, Any]:
    return rows
