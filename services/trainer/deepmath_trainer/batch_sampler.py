"""Samples batches: requests trajectories from the generators, journals them, and computes their rewards."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.reasoning_gym.gym_source import tasks_of
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier
from deepmath.observability.busy_clock import BusyClock
from deepmath_trainer.curriculum import Curriculum
from deepmath_trainer.generator_replicas import GeneratorReplicas
from deepmath_trainer.rewards import outcome, reward
from deepmath_trainer.rollout_batch import RolloutBatch, RolloutGroup, TrainingSample
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.trajectory_journal import BatchJournal, TrajectoryJournal

log = logging.getLogger(__name__)

_MOST_ATTEMPTS = 4  # for a trajectory that ends by an infrastructure failure
_SEED_BITS = 62
_KEY_DIGITS = 12


class BatchSampler:
    """Makes batches. Batch `i` has the same problems, seeds and temperature whenever and however often it is made.

    The batches before it have been observed by `curriculum`.

    `rank` is this process among those of the run: each trains on groups of its own.
    """

    def __init__(
        self,
        config: TrainConfig,
        problems: Sequence[DatasetProblem],
        replicas: GeneratorReplicas,
        journal: TrajectoryJournal,
        rank: int = 0,
    ) -> None:
        self._config, self._replicas, self.journal = config, replicas, journal
        self.curriculum = Curriculum(config, problems)
        self._groups = config.rollout.groups // config.launch.processes
        self._first_group = rank * self._groups
        tasks = tasks_of(config.data.dataset) | tasks_of(config.evaluation.data.dataset)
        self.verifier = Verifier(config.reward.verify_workers, config.reward.verify_seconds, tasks=tasks)
        self._reward_thread = ThreadPoolExecutor(1, "rewards")
        self.busy = BusyClock()
        self._request = config.rollout.request

    async def sample(self, index: int, temperature: float) -> RolloutBatch:
        """Sample batch `index` and compute its rewards.

        Raises:
            Unavailable: no generator can be reached.
            InvalidRequest: the generator rejects the request.
        """
        loop = asyncio.get_running_loop()
        batch = RolloutBatch(index, temperature, started=loop.time())
        journal = self.journal.open(index)
        try:
            async with asyncio.TaskGroup() as tasks:
                groups = [tasks.create_task(self._group(batch, place, journal)) for place in range(self._groups)]
        except* Exception as errors:  # the first is the cause; the others were cancelled because of it
            raise errors.exceptions[0] from None
        finally:
            journal.close()
        attempts = [group.result() for group in groups]
        batch.groups = [tried[-1] for tried in attempts]
        batch.replaced = [group for tried in attempts for group in tried[:-1]]
        batch.ended = loop.time()
        return batch

    def close(self) -> None:
        """Stop the verifier and the thread that uses it."""
        self._reward_thread.shutdown(cancel_futures=True)
        self.verifier.close()

    async def _group(self, batch: RolloutBatch, place: int, journal: BatchJournal) -> list[RolloutGroup]:
        """Return the group at `place` of the batch, after flat ones that it replaces, at most `resample_flat`."""
        groups: list[RolloutGroup] = []
        for attempt in range(self._config.rollout.resample_flat + 1):
            # Replacements have their own places, so that no group depends on which others are flat.
            place_of_all = attempt * self._config.rollout.groups + self._first_group + place
            problem = self.curriculum.problem(batch.index, place_of_all)
            groups.append(RolloutGroup(problem, await self._samples(batch, place, attempt, problem, journal)))
            if not groups[-1].flat:
                break
        return groups

    async def _samples(
        self, batch: RolloutBatch, place: int, attempt: int, problem: DatasetProblem, journal: BatchJournal
    ) -> list[TrainingSample]:
        key = self._request_key(problem, batch.temperature)
        prompts = {}
        for number in range(self._config.rollout.samples):
            place_in_batch = f"{self._first_group + place}.{attempt}.{number}"
            name, seed = f"{place_in_batch}.{key}", self._seed(batch.index, place_in_batch)
            prompts[name] = pb.RolloutPrompt(id=name, question=problem.text, seed=seed)
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
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reward_thread, self._with_rewards, problem, trajectories)

    def _with_rewards(self, problem: DatasetProblem, trajectories: list[pb.Trajectory]) -> list[TrainingSample]:
        verdicts = self.verifier.verify([(problem.reference, trajectory.answer) for trajectory in trajectories])
        outcomes = [
            outcome(trajectory, verdict.correct, verdict.score)
            for trajectory, verdict in zip(trajectories, verdicts, strict=True)
        ]
        rewards = [reward(one, self._config.reward, self._config.rollout.max_tokens) for one in outcomes]
        reasons = [verdict.reason for verdict in verdicts]
        if missing := {verdict.reason.value for verdict in verdicts if verdict.correct is None}:
            log.warning("answers to problem %s have no verdict: %s", problem.id, "; ".join(sorted(missing)))
        return [TrainingSample(*parts) for parts in zip(trajectories, outcomes, rewards, reasons, strict=True)]

    def _request_key(self, problem: DatasetProblem, temperature: float) -> str:
        """Return what distinguishes requests in the journal of a run that was resumed with other settings or data."""
        budget = self._request["budget"].SerializeToString(deterministic=True)
        mode, config = int(self._request["mode"]), self._config
        request = (problem.text, temperature, mode, budget, config.prompt, config.dialect)
        return hashlib.sha256(repr(request).encode()).hexdigest()[:_KEY_DIGITS]

    def _seed(self, batch: int, place_in_batch: str) -> int:
        digest = hashlib.sha256(f"{self._config.seed}:{batch}:{place_in_batch}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)
