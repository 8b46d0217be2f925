"""Draws the samples of a plan that a run does not have yet, all in flight at once, and grades each as it ends."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from deepmath.clients import GeneratorClient
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.errors import DeepMathError, Overloaded, Unavailable
from deepmath.evaluation.evaluation_plan import EvaluationConfiguration, EvaluationPlan
from deepmath.evaluation.evaluation_run import EvaluationRun, GradedSample, Key
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier

ATTEMPTS = 3
_IN_ONE_CALL = 64  # trajectories
_CALLS = 64  # at once: a generator has room for 8192 trajectories that wait, unless it was told otherwise


class EvaluationSampler:
    """The samples of `plan`, from one generator, graded by `verifier` and written to `run`."""

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
        self._room = asyncio.Semaphore(_CALLS)

    async def draw(self) -> int:
        """Draw what is missing; return how many samples are missing after all.

        The model itself comes first; then the generator gets the adapter, if the plan has one. What fails by a fault
        of ours is tried `ATTEMPTS` times.

        Raises:
            InvalidRequest: the generator refuses the request, or the adapter.
            Unavailable: the generator could not be reached in any attempt.
            Overloaded: it had no room in any attempt.
        """
        for benchmark, problems in self._plan.problems.items():
            self._run.add_problems(benchmark, problems)
        missing = 0
        for adapter in (False, True):
            configurations = [one for one in self._plan.configurations if one.adapter is adapter]
            wanted = self._missing(configurations)
            if wanted and adapter and self._plan.adapter:
                version = (await self._client.get_info()).policy_version
                await self._client.update_adapter(self._plan.adapter, version + 1)
            missing += await self._draw(wanted)
        return missing

    def _missing(
        self, configurations: list[EvaluationConfiguration]
    ) -> dict[Key, tuple[EvaluationConfiguration, DatasetProblem]]:
        return {
            key: (configuration, problem)
            for configuration in configurations
            for benchmark in self._plan.problems
            for key, problem in self._plan.keys(configuration, benchmark)
            if key not in self._run.done
        }

    async def _draw(self, wanted: Mapping[Key, tuple[EvaluationConfiguration, DatasetProblem]]) -> int:
        lost: list[Unavailable | Overloaded] = []
        for attempt in range(ATTEMPTS):
            if lost:
                await asyncio.sleep(1 << attempt)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._call(*call)) for call in self._calls(wanted)]
            except* DeepMathError as errors:  # what is refused is refused to all
                raise errors.exceptions[0] from None
            lost = [error for task in tasks if (error := task.result())]
        if lost:
            raise lost[0]
        return sum(key not in self._run.done for key in wanted)

    def _calls(
        self, wanted: Mapping[Key, tuple[EvaluationConfiguration, DatasetProblem]]
    ) -> Iterator[tuple[EvaluationConfiguration, dict[Key, DatasetProblem]]]:
        """Yield what is still missing, a call's worth at a time."""
        missing = ((one, key, problem) for key, (one, problem) in wanted.items() if key not in self._run.done)
        for configuration, rows in groupby(missing, key=itemgetter(0)):
            while part := {key: problem for _, key, problem in islice(rows, _IN_ONE_CALL)}:
                yield configuration, part

    async def _call(
        self, configuration: EvaluationConfiguration, problems: Mapping[Key, DatasetProblem]
    ) -> Unavailable | Overloaded | None:
        """Draw one sample for each key; return why it broke off, if it did."""
        plan, keys = self._plan, list(problems)
        prompts = [
            pb.RolloutPrompt(id=str(at), question=problems[key].text, seed=_seed(plan.seed, key))
            for at, key in enumerate(keys)
        ]
        mode = pb.MODE_PLAIN if configuration.mode == "plain" else pb.MODE_AGENT
        grading: list[asyncio.Task[None]] = []
        async with self._room:
            try:
                async for response in self._client.rollout(
                    prompts, mode=mode, sampling=plan.sampling, budget=plan.budget
                ):
                    key = keys[response.prompt_index]
                    taking = self._take(key, configuration.mode, problems[key], response.trajectory)
                    grading.append(asyncio.create_task(taking))
            except (Unavailable, Overloaded) as error:
                return error
            finally:
                await asyncio.gather(*grading)
        return None

    async def _take(self, key: Key, mode: str, problem: DatasetProblem, trajectory: pb.Trajectory) -> None:
        """Grade and write one trajectory."""
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            self._run.add_failure(key, "; ".join(trajectory.notes))
            return
        pair = (problem.answer, trajectory.answer)
        (correct,) = await asyncio.to_thread(self._verifier.verify, [pair])
        sample = GradedSample(
            *key,
            mode=mode,
            gold=problem.answer,
            answer=trajectory.answer,
            correct=correct,
            status=pb.Status.Name(trajectory.status).removeprefix("STATUS_"),
            text=trajectory.text,
            model_tokens=trajectory.model_tokens,
            tool_tokens=trajectory.tool_tokens,
            snippets=[_snippet(one) for one in trajectory.snippets],
            seconds=round(trajectory.seconds, 3),
        )
        self._run.add(sample)
        self._on_sample(sample)


def _seed(seed: int, key: Key) -> int:
    """The same for a sample whenever it is drawn, and in every configuration."""
    return int.from_bytes(hashlib.sha256(repr((seed, key[1:])).encode()).digest()[:7], "big")


def _snippet(run: pb.SnippetRun) -> dict[str, Any]:
    return {
        "code": run.code,
        "outcome": executor.Outcome.Name(run.result.outcome).removeprefix("OUTCOME_"),
        "stdout": run.result.stdout,
        "value": run.result.value,
    }
