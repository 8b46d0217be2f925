"""Batches of rollouts: sampled, journalled, judged, and ready for the loss."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier
from deepmath.observability.busy_clock import BusyClock
from deepmath_trainer.generator_replicas import GeneratorReplicas
from deepmath_trainer.rewards import Outcome, Reward, outcome, reward
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.training_data import ProblemOrder
from deepmath_trainer.trajectory_journal import BatchJournal, TrajectoryJournal

log = logging.getLogger(__name__)

_MOST_ATTEMPTS = 4  # at a trajectory that fails for reasons of ours
_SEED_BITS = 62


@dataclass(frozen=True)
class TrainingSample:
    """A trajectory and what it is worth."""

    trajectory: pb.Trajectory
    outcome: Outcome
    reward: Reward

    @property
    def failed(self) -> bool:
        """Whether it failed for reasons of ours."""
        return self.trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED


@dataclass(frozen=True)
class RolloutGroup:
    """A problem and its samples."""

    problem: DatasetProblem
    samples: list[TrainingSample]

    @property
    def flat(self) -> bool:
        """Whether all rewards are equal, so that there is nothing to learn from it."""
        return len({sample.reward.total for sample in self.samples} - {None}) < 2


@dataclass
class Batch:
    """The groups that one process trains on at a time."""

    index: int
    temperature: float
    groups: list[RolloutGroup] = field(default_factory=list)
    offset: int = 0
    """What was added to optimizer steps to make the policy versions in it."""
    began: float = 0.0
    ended: float = 0.0
    resampled: int = 0

    @property
    def samples(self) -> list[TrainingSample]:
        """All samples, group after group."""
        return [sample for group in self.groups for sample in group.samples]


class RolloutBatches:
    """Makes batches. Batch `i` has the same problems, seeds and temperature whenever and however often it is made.

    `rank` is the process that asks: each trains on groups of its own.
    """

    def __init__(
        self,
        config: TrainConfig,
        problems: Sequence[DatasetProblem],
        replicas: GeneratorReplicas,
        journal: TrajectoryJournal,
        rank: int = 0,
    ) -> None:
        self._config, self._problems, self._replicas, self.journal = config, problems, replicas, journal
        self._order = ProblemOrder(len(problems), config.seed)
        self._groups = config.rollout.groups // config.launch.processes
        self._first_group = rank * self._groups
        self.verifier = Verifier(config.reward.verify_workers, config.reward.verify_seconds)
        self._judge = ThreadPoolExecutor(1, "judge")
        self.busy = BusyClock()
        self._request = config.rollout.request

    async def batch(self, index: int, temperature: float) -> Batch:
        """Sample and judge batch `index`.

        Raises:
            Unavailable: there is no generator to be had.
            InvalidRequest: the generator refuses what it is asked.
        """
        loop = asyncio.get_running_loop()
        batch = Batch(index, temperature, offset=self._replicas.offset, began=loop.time())
        journal = self.journal.open(index, self._replicas.offset)
        try:
            async with asyncio.TaskGroup() as tasks:
                groups = [tasks.create_task(self._group(batch, place, journal)) for place in range(self._groups)]
        except* Exception as errors:  # the first says why; the others were cancelled for it
            raise errors.exceptions[0] from None
        finally:
            journal.close()
        batch.groups = [group.result() for group in groups]
        batch.ended = loop.time()
        return batch

    def close(self) -> None:
        """End the processes that judge."""
        self._judge.shutdown(cancel_futures=True)
        self.verifier.close()

    async def _group(self, batch: Batch, place: int, journal: BatchJournal) -> RolloutGroup:
        """Return the group at `place` of the batch; a flat one is replaced as often as the configuration says."""
        for attempt in range(self._config.rollout.resample_flat + 1):
            problem = self._problem(batch.index, place, attempt)
            samples = await self._samples(batch, place, attempt, problem, journal)
            group = RolloutGroup(problem, samples)
            if not group.flat:
                break
            batch.resampled += attempt < self._config.rollout.resample_flat
        return group

    def _problem(self, batch: int, place: int, attempt: int) -> DatasetProblem:
        # Replacements come from positions of their own, so that a batch never depends on the one before.
        rounds = self._config.rollout.resample_flat + 1
        position = (batch * rounds + attempt) * self._config.rollout.groups + self._first_group + place
        (at,) = self._order.indices(position, 1)
        return self._problems[at]

    async def _samples(
        self, batch: Batch, place: int, attempt: int, problem: DatasetProblem, journal: BatchJournal
    ) -> list[TrainingSample]:
        prompts = {
            f"{self._first_group + place}.{attempt}.{number}": pb.RolloutPrompt(question=problem.text)
            for number in range(self._config.rollout.samples)
        }
        for name, prompt in prompts.items():
            prompt.id, prompt.seed = name, self._seed(batch.index, name)
        ended = {name: journal.found[name].trajectory for name in prompts if name in journal.found}
        failures: dict[str, int] = {}
        while missing := [prompt for name, prompt in prompts.items() if name not in ended]:
            with self.busy:
                responses = await self._replicas.rollout(missing, batch.temperature, **self._request)
            for response in responses:
                failed = response.trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
                failures[response.id] = failures.get(response.id, 0) + failed
                if not failed or failures[response.id] == _MOST_ATTEMPTS:
                    ended[response.id] = response.trajectory
                    journal.append(response)
        trajectories = [ended[name] for name in prompts]
        return await asyncio.get_running_loop().run_in_executor(self._judge, self._judged, problem, trajectories)

    def _judged(self, problem: DatasetProblem, trajectories: list[pb.Trajectory]) -> list[TrainingSample]:
        right = self.verifier.verify([(problem.answer, trajectory.answer) for trajectory in trajectories])
        outcomes = [outcome(trajectory, correct) for trajectory, correct in zip(trajectories, right, strict=True)]
        rewards = [reward(one, self._config.reward, self._config.rollout.max_tokens) for one in outcomes]
        return [TrainingSample(*parts) for parts in zip(trajectories, outcomes, rewards, strict=True)]

    def _seed(self, batch: int, name: str) -> int:
        digest = hashlib.sha256(f"{self._config.seed}:{batch}:{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)
