"""An evaluation is of all problems, however often its calls are interrupted."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from deepmath_trainer.policy_evaluation import evaluate_policy
from deepmath_trainer.run_config_parser import parse_config, read_recipe

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier

PROBLEMS = [DatasetProblem.of(f"What is {number} + 0?", str(number)) for number in range(3)]


@pytest.fixture
def verifier() -> Iterator[Verifier]:
    made = Verifier(1, 5.0)
    yield made
    made.close()


class InterruptedReplicas:
    """Completes one trajectory after each `interruptions` calls without one; that of problem 0 always fails."""

    def __init__(self, interruptions: int) -> None:
        self._interruptions = interruptions
        self.calls = 0

    async def rollout(self, prompts: Any, *_: object, **__: object) -> list[pb.RolloutResponse]:
        self.calls += 1
        if self.calls % (self._interruptions + 1):
            return []
        prompt = list(prompts)[-1]
        if prompt.id == "0":
            return [pb.RolloutResponse(id="0", trajectory=pb.Trajectory(status=pb.STATUS_INFRASTRUCTURE_FAILED))]
        return [pb.RolloutResponse(id=prompt.id, trajectory=pb.Trajectory(answer=prompt.id, status=pb.STATUS_ANSWERED))]


@pytest.mark.parametrize("interruptions", [0, 9])
async def test_interrupted_calls_are_no_failed_trajectories(verifier, interruptions: int) -> None:
    replicas = InterruptedReplicas(interruptions)
    figures = await evaluate_policy(parse_config(read_recipe("tiny-math")), PROBLEMS, cast(Any, replicas), verifier)
    assert (figures["problems"], figures["failed"], figures["accuracy"]) == (3, 1, 1.0)
    assert replicas.calls == 6 * (interruptions + 1), "two problems, and four attempts at the one that fails"
