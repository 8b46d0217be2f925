"""A trajectory as the loss takes it."""

from deepmath_trainer.loss_row import LossRow

from deepmath.generator.v1 import generator_pb2 as pb

MODEL, TOOL = pb.Segment.SOURCE_MODEL, pb.Segment.SOURCE_TOOL
TRAJECTORY = pb.Trajectory(
    prompt_token_ids=[5, 6],
    segments=[
        pb.Segment(source=MODEL, token_ids=[1, 2], logprobs=[-0.5, -0.25]),
        pb.Segment(source=TOOL, token_ids=[3, 4, 3]),
        pb.Segment(source=MODEL, token_ids=[9], logprobs=[-2.0]),
    ],
)


def test_ids_are_unchanged_and_tools_are_masked() -> None:
    expected = LossRow([5, 6], [1, 2, 3, 4, 3, 9], [-0.5, -0.25, 0, 0, 0, -2.0], [1, 1, 0, 0, 0, 1])
    assert LossRow.of(TRAJECTORY, in_loss=True, filler=0) == expected


def test_no_token_of_a_failed_trajectory_is_in_the_loss() -> None:
    assert sum(LossRow.of(TRAJECTORY, in_loss=False, filler=0).mask) == 0


def test_trajectory_without_tokens_becomes_one_token_outside_the_loss() -> None:
    assert LossRow.of(pb.Trajectory(), in_loss=True, filler=7) == LossRow([7], [7], [0.0], [0])
