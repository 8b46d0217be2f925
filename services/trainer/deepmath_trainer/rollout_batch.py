"""A batch of judged trajectories: groups of samples of one problem each."""

from dataclasses import dataclass, field

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verdict import Reason
from deepmath_trainer.pass_rates import PassCount
from deepmath_trainer.rewards import Outcome, Reward


@dataclass(frozen=True)
class TrainingSample:
    """A trajectory and its reward."""

    trajectory: pb.Trajectory
    outcome: Outcome
    reward: Reward
    reason: Reason | None = None
    """Of the verdict on its answer; None for an infrastructure failure."""

    @property
    def failed(self) -> bool:
        """Whether it ended by an infrastructure failure."""
        return self.trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED


@dataclass(frozen=True)
class RolloutGroup:
    """A problem and its samples."""

    problem: DatasetProblem
    samples: list[TrainingSample]

    @property
    def flat(self) -> bool:
        """Whether all rewards are equal, so that no sample has an advantage."""
        return len({sample.reward.total for sample in self.samples} - {None}) < 2

    @property
    def pass_count(self) -> PassCount:
        """Its samples without those of an infrastructure failure. One without a verdict has not passed."""
        outcomes = [sample.outcome for sample in self.samples if not sample.failed]
        return PassCount(self.problem.digest, sum(outcome.credit for outcome in outcomes), len(outcomes))


@dataclass
class RolloutBatch:
    """The groups that one process trains on at a time."""

    index: int
    temperature: float
    groups: list[RolloutGroup] = field(default_factory=list)
    replaced: list[RolloutGroup] = field(default_factory=list)
    """Flat groups that were sampled before those of `groups`."""
    started: float = 0.0
    ended: float = 0.0
    """Times by the clock of the sampling thread's event loop, in seconds."""

    @property
    def samples(self) -> list[TrainingSample]:
        """All samples, group after group."""
        return [sample for group in self.groups for sample in group.samples]

    @property
    def pass_counts(self) -> list[PassCount]:
        """Of all groups, those that were replaced included."""
        return [group.pass_count for group in [*self.replaced, *self.groups]]

    def mean_staleness(self, step: int) -> float:
        """Return how many optimizer steps the sampling policies were behind that of `step`, averaged over segments."""
        versions = [
            segment.policy_version
            for sample in self.samples
            for segment in sample.trajectory.segments
            if segment.logprobs
        ]
        return float(sum(step - version for version in versions)) / max(len(versions), 1)
