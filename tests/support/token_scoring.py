"""Second scoring of a trajectory's tokens with transformers."""

from typing import Any

import pytest

from deepmath.data.synthetic import generate
from deepmath.generator.v1 import generator_pb2 as pb

QUESTIONS = [problem.problem for problem in generate(32, "test", 1)]


def token_ids(trajectory: pb.Trajectory) -> list[int]:
    """Return the prompt's ids and those of all segments."""
    return [*trajectory.prompt_token_ids, *(token for s in trajectory.segments for token in s.token_ids)]


def largest_difference(model: Any, trajectory: pb.Trajectory, temperature: float) -> float:
    """Return the largest difference between the log-probabilities of the segments and those of `model`."""
    import torch

    tokens = torch.tensor(token_ids(trajectory))
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(tokens[None]).logits[0] / temperature, dim=-1)
    position, largest = len(trajectory.prompt_token_ids), 0.0
    for segment in trajectory.segments:
        is_tool = segment.source == pb.Segment.SOURCE_TOOL
        assert is_tool or segment.temperature == pytest.approx(temperature)
        for token, logprob in zip(segment.token_ids, segment.logprobs, strict=False):
            largest = max(largest, abs(logprobs[position - 1, token].item() - logprob))
            position += 1
        position += len(segment.token_ids) if is_tool else 0
    return largest
