"""A trajectory as the loss takes it: exactly the ids that were sampled, and which of them are in the loss."""

from dataclasses import dataclass
from typing import Self

from deepmath.generator.v1 import generator_pb2 as pb


@dataclass(frozen=True)
class LossRow:
    """One trajectory. The lists after `prompt_ids` have one entry for each token after the prompt."""

    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    """Natural logarithm of the probability with which each token was sampled; 0 for tokens of tools."""
    mask: list[int]
    """1: sampled by the model and in the loss."""

    @classmethod
    def of(cls, trajectory: pb.Trajectory, in_loss: bool, filler: int) -> Self:
        """Return `trajectory` as a row, with no token in the loss unless `in_loss`.

        TRL accepts no empty completion: one becomes the single token `filler`, which is not in the loss.
        """
        ids: list[int] = []
        logprobs: list[float] = []
        mask: list[int] = []
        for segment in trajectory.segments:
            sampled = segment.source == pb.Segment.SOURCE_MODEL
            ids += segment.token_ids
            logprobs += segment.logprobs if sampled else [0.0] * len(segment.token_ids)
            mask += [int(sampled and in_loss)] * len(segment.token_ids)
        prompt_ids = list(trajectory.prompt_token_ids) or [filler]  # a trajectory may fail before its first token
        return cls(prompt_ids, ids, logprobs, mask) if ids else cls(prompt_ids, [filler], [0.0], [0])
