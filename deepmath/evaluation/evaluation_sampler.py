"""Sampler of an evaluation: draws all missing samples concurrently and grades each on completion."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from deepmath.clients import GeneratorClient
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.errors import DeepMathError, Overloaded, Unavailable, WrongOrder
from deepmath.evaluation.evaluation_plan import EvaluationConfiguration, EvaluationPlan
from deepmath.evaluation.evaluation_run import EvaluationRun
from deepmath.evaluation.graded_sample import GradedSample, SampleKey
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier

ATTEMPTS = 3
_TRAJECTORIES_PER_CALL = 64
_CONCURRENT_CALLS = 64  # by default a generator queues up to 8192 trajectories

Missing = Mapping[SampleKey, tuple[EvaluationConfiguration, DatasetProblem]]
"""Samples to draw."""


class EvaluationSampler:
    """Draws the samples of `plan` from one generator, grades them with `verifier` and writes them to `run`."""

    def __init__(
        self,
        client: GeneratorClient,
        run: EvaluationRun,
        plan: EvaluationPlan,
        verifier: Verifier,
        on_sample: Callable[[GradedSample], None] = lambda _: None,
    ) -> None:
        self._client, self._run, self._plan = client, run, plan
        self._verifier, self._on_sample = verifier, on_sample
        self._calls_in_flight = asyncio.Semaphore(_CONCURRENT_CALLS)
        self._policy: pb.Policy | None = None  # None: the one that the generator serves

    async def draw(self) -> int:
        """Draw the missing samples; return how many are still missing afterwards.

        Configurations without an adapter run first. Then the plan's adapter, if there is one, is pushed to the
        generator, which samples the others with it whatever other adapters it gets meanwhile. A sample with an
        infrastructure failure is tried `ATTEMPTS` times.

        Raises:
            InvalidRequest: the generator rejects the request or the adapter.
            Unavailable: the generator was unreachable in every attempt.
            Overloaded: the generator was overloaded in every attempt.
        """
        for benchmark, problems in self._plan.problems.items():
            self._run.add_problems(benchmark, problems)
        still_missing = 0
        for adapter in (False, True):
            configurations = [one for one in self._plan.configurations if one.adapter is adapter]
            missing = self._missing(configurations)
            if missing and adapter and self._plan.adapter:
                self._policy = pb.Policy(run=f"evaluation-{secrets.token_hex(8)}", version=1)
            still_missing += await self._draw(missing)
        return still_missing

    def _missing(self, configurations: list[EvaluationConfiguration]) -> Missing:
        return {
            key: (configuration, problem)
            for configuration in configurations
            for benchmark in self._plan.problems
            for key, problem in self._plan.keys(configuration, benchmark)
            if key not in self._run.verdicts
        }

    async def _draw(self, missing: Missing) -> int:
        errors: list[Unavailable | Overloaded | WrongOrder] = []
        for attempt in range(ATTEMPTS):
            if errors:
                await asyncio.sleep(1 << attempt)
            if self._policy and self._plan.adapter:  # again too: the generator may have been restarted
                await self._client.update_adapter(self._plan.adapter, self._policy.version, run=self._policy.run)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._call(*call)) for call in self._calls(missing)]
            except* DeepMathError as raised:  # a rejected request is rejected for all samples
                raise raised.exceptions[0] from None
            errors = [error for task in tasks if (error := task.result())]
        if errors:
            raise errors[0]
        return sum(key not in self._run.verdicts for key in missing)

    def _calls(self, missing: Missing) -> Iterator[tuple[EvaluationConfiguration, dict[SampleKey, DatasetProblem]]]:
        """Split the samples that are still missing into calls of one configuration each."""
        rows = ((one, key, problem) for key, (one, problem) in missing.items() if key not in self._run.verdicts)
        for configuration, group in groupby(rows, key=itemgetter(0)):
            while call := {key: problem for _, key, problem in islice(group, _TRAJECTORIES_PER_CALL)}:
                yield configuration, call

    async def _call(
        self, configuration: EvaluationConfiguration, problems: Mapping[SampleKey, DatasetProblem]
    ) -> Unavailable | Overloaded | WrongOrder | None:
        """Draw one sample for each key. Return the error if the stream breaks off, or the adapter is not loaded."""
        plan, keys = self._plan, list(problems)
        prompts = [
            pb.RolloutPrompt(id=str(index), question=problems[key].text, seed=_sample_seed(plan.seed, key))
            for index, key in enumerate(keys)
        ]
        mode = pb.MODE_PLAIN if configuration.mode == "plain" else pb.MODE_AGENT
        grading: list[asyncio.Task[None]] = []
        async with self._calls_in_flight:
            try:
                async for response in self._client.rollout(
                    prompts, mode=mode, sampling=plan.sampling, budget=plan.budget, policy=self._policy
                ):
                    key = keys[response.prompt_index]
                    graded = self._grade(key, configuration.mode, problems[key], response.trajectory)
                    grading.append(asyncio.create_task(graded))
            except (Unavailable, Overloaded, WrongOrder) as error:
                return error
            finally:
                await asyncio.gather(*grading)
        return None

    async def _grade(self, key: SampleKey, mode: str, problem: DatasetProblem, trajectory: pb.Trajectory) -> None:
        """Grade one trajectory and write it to the run."""
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            self._run.add_failure(key, "; ".join(trajectory.notes))
            return
        pair = (problem.reference, trajectory.answer)
        (verdict,) = await asyncio.to_thread(self._verifier.verify, [pair])
        sample = GradedSample(
            *key,
            mode=mode,
            gold=problem.answer,
            answer=trajectory.answer,
            correct=verdict.correct,
            status=pb.Status.Name(trajectory.status).removeprefix("STATUS_"),
            text=trajectory.text,
            model_tokens=trajectory.model_tokens,
            tool_tokens=trajectory.tool_tokens,
            snippets=[_snippet(one) for one in trajectory.snippets],
            seconds=round(trajectory.seconds, 3),
            reason=verdict.reason.value,
            dialect=trajectory.dialect,
            score=verdict.score,
            family=problem.family,
            difficulty=problem.difficulty,
        )
        self._run.add(sample)
        self._on_sample(sample)


def _sample_seed(seed: int, key: SampleKey) -> int:
    """Return the seed of a sample: the same at every draw and in every configuration."""
    return int.from_bytes(hashlib.sha256(repr((seed, key[1:])).encode()).digest()[:7], "big")


def _snippet(run: pb.SnippetRun) -> dict[str, Any]:
    return {
        "code": run.code,
        "outcome": executor.Outcome.Name(run.result.outcome).removeprefix("OUTCOME_"),
        "stdout": run.result.stdout,
        "value": run.result.value,
    }
