"""Evaluation of a policy on test problems, one sample each."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier
from deepmath_trainer.generator_replicas import GeneratorReplicas
from deepmath_trainer.rewards import outcome
from deepmath_trainer.run_config import TrainConfig

_PROMPTS_PER_CALL = 64
_MOST_ATTEMPTS = 4  # for a trajectory that ends by an infrastructure failure


async def evaluate_policy(
    config: TrainConfig, problems: Sequence[DatasetProblem], replicas: GeneratorReplicas, verifier: Verifier
) -> dict[str, float]:
    """Return the figures of the policy that the generators serve.

    `accuracy`, `code_rate` and `code_executed_rate` are shares and `model_tokens` a mean, over the problems without an
    infrastructure failure; `failed` counts the others. `accuracy` is over those with a verdict; `no_verdict` counts
    the others. `score` is the mean over the problems with their own scorers, if there are any. Problem i is always
    sampled with the same seed.

    Raises:
        Unavailable: no generator can be reached.
    """
    trajectories: dict[str, pb.Trajectory] = {}
    temperature, request = config.evaluation.temperature, config.rollout.request
    prompts = [
        pb.RolloutPrompt(id=str(number), question=problem.text, seed=number) for number, problem in enumerate(problems)
    ]
    failures: Counter[str] = Counter()  # of trajectories; a call that was interrupted is repeated as often as needed
    while missing := [
        prompt for prompt in prompts if prompt.id not in trajectories and failures[prompt.id] < _MOST_ATTEMPTS
    ]:
        calls = (replicas.rollout(part, temperature, **request) for part in _parts(missing))
        for responses in await asyncio.gather(*calls):
            for response in responses:
                if response.trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
                    failures[response.id] += 1
                else:
                    trajectories[response.id] = response.trajectory
    pairs = [(problems[int(name)].reference, trajectory.answer) for name, trajectory in trajectories.items()]
    verdicts = await asyncio.to_thread(verifier.verify, pairs)
    outcomes = [
        outcome(trajectory, verdict.correct, verdict.score)
        for trajectory, verdict in zip(trajectories.values(), verdicts, strict=True)
    ]
    scores = [one.score for one in outcomes if one.score is not None]
    return {
        "problems": len(problems),
        "accuracy": _mean([one.correct for one in outcomes if one.correct is not None]),
        **({"score": _mean(scores)} if scores else {}),
        "code_rate": _mean([one.called for one in outcomes]),
        "code_executed_rate": _mean([one.executed for one in outcomes]),
        "model_tokens": _mean([trajectory.model_tokens for trajectory in trajectories.values()]),
        "failed": len(problems) - len(trajectories),
        "no_verdict": sum(one.correct is None for one in outcomes),
    }


def _parts(prompts: list[pb.RolloutPrompt]) -> Iterator[list[pb.RolloutPrompt]]:
    rest = iter(prompts)
    while part := list(islice(rest, _PROMPTS_PER_CALL)):
        yield part


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
