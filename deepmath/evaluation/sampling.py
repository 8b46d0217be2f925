"""Draws the samples of a benchmark that a run does not have yet, all in flight at once, and grades each as it ends."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepmath.clients import GeneratorClient
from deepmath.errors import Unavailable
from deepmath.evaluation.benchmarks import Problem
from deepmath.evaluation.run import Run, Sample
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.verifier import Verifier

ATTEMPTS = 3
_IN_ONE_CALL = 512  # trajectories; a request is a few MiB at most

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Configuration:
    """What is evaluated under a name: how a generator is asked."""

    name: str
    mode: str
    """`plain` or `agent`."""
    sampling: pb.Sampling
    budget: pb.Budget
    seed: int = 0


class Drawing:
    """The samples of one configuration, from one generator, graded by `verifier` and written to `run`."""

    def __init__(
        self,
        client: GeneratorClient,
        run: Run,
        configuration: Configuration,
        verifier: Verifier,
        on_sample: Callable[[Sample], None] = lambda _: None,
    ) -> None:
        self._client, self._run, self._configuration = client, run, configuration
        self._verifier, self._on_sample = verifier, on_sample

    async def draw(self, benchmark: str, problems: Sequence[Problem], samples: int) -> int:
        """Draw what is missing of `samples` samples of each problem; return how many are missing after all.

        What fails by a fault of ours is tried `ATTEMPTS` times.

        Raises:
            InvalidRequest: the generator refuses the request.
            Unavailable: the generator could not be reached in any attempt.
        """
        wanted: dict[Key, Problem] = {
            (self._configuration.name, benchmark, problem.id, number): problem
            for number in range(samples)  # the first of each problem first: what is stopped early has a bit of all
            for problem in problems
        }
        lost: list[Unavailable] = []
        for _ in range(ATTEMPTS):
            missing = [key for key in wanted if key not in self._run.done]
            parts = (missing[start : start + _IN_ONE_CALL] for start in range(0, len(missing), _IN_ONE_CALL))
            calls = (self._call({key: wanted[key] for key in part}) for part in parts)
            lost = [error for error in await asyncio.gather(*calls) if error]
        if lost:
            raise lost[0]
        return sum(key not in self._run.done for key in wanted)

    async def _call(self, problems: Mapping[Key, Problem]) -> Unavailable | None:
        """Draw one sample for each key; return why it broke off, if it did."""
        keys = list(problems)
        asked = self._configuration
        prompts = [
            pb.RolloutPrompt(id=str(at), question=problems[key].text, seed=_seed(asked.seed, key))
            for at, key in enumerate(keys)
        ]
        mode = pb.MODE_PLAIN if asked.mode == "plain" else pb.MODE_AGENT
        grading: list[asyncio.Task[None]] = []
        try:
            async for response in self._client.rollout(
                prompts, mode=mode, sampling=asked.sampling, budget=asked.budget
            ):
                key = keys[response.prompt_index]
                grading.append(asyncio.create_task(self._take(key, problems[key], response.trajectory)))
        except Unavailable as error:
            return error
        finally:
            await asyncio.gather(*grading)
        return None

    async def _take(self, key: Key, problem: Problem, trajectory: pb.Trajectory) -> None:
        """Grade and write one trajectory."""
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            self._run.add_failure(key, "; ".join(trajectory.notes))
            return
        pair = (problem.answer, trajectory.answer)
        (correct,) = await asyncio.to_thread(self._verifier.verify, [pair])
        sample = Sample(
            *key,
            mode=self._configuration.mode,
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
