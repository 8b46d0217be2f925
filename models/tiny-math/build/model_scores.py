"""Scores of the model, measured through the real services with one sample per problem."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepmath.clients import GeneratorClient
from deepmath.data.synthetic import DIFFICULTIES, FAMILIES, SyntheticProblem, generate
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.answer_normalization import same_canonical_form
from deepmath.local_stack.stack import LocalStack

MODES = {"agent": pb.MODE_AGENT, "plain": pb.MODE_PLAIN}

Sample = tuple[SyntheticProblem, pb.Trajectory]


@dataclass(frozen=True)
class ModelScore:
    """Means over the problems of one family or difficulty, or over all."""

    problems: int
    accuracy: float
    """Share of correct answers."""
    code_use: float
    """Share of problems with at least one snippet."""
    accuracy_with_code: float
    """Share of correct answers among problems with a snippet; 0 if there are none."""
    model_tokens: float
    """Model tokens per problem."""
    model_tokens_with_code: float
    """Model tokens per problem with a snippet; 0 if there are none."""


async def score(model: Path, per_cell: int, seed: int) -> dict[str, Any]:
    """Sample test problems at temperature 1, `per_cell` of each family and difficulty, in both modes at once.

    Return what `scores_of` does.

    Raises:
        RuntimeError: a trajectory ended in an infrastructure failure.
    """
    problems = list(generate(per_cell * len(FAMILIES) * DIFFICULTIES, "test", seed))
    async with LocalStack(str(model)) as stack, GeneratorClient(stack.generator) as client:
        sampled = await asyncio.gather(*(_sample(client, problems, mode, seed) for mode in MODES.values()))
    return scores_of(dict(zip(MODES, sampled, strict=True)))


def scores_of(samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Return the fields of `ModelScore` of the samples, which are given by mode.

    `MODE` has them by family and for `all`, `by_difficulty` by mode and difficulty; `by_cell` has the accuracy by mode,
    family and difficulty.
    """
    return {
        **{mode: _by_family(own) | {"all": asdict(_score(own))} for mode, own in samples.items()},
        "by_difficulty": {mode: _by_difficulty(own) for mode, own in samples.items()},
        "by_cell": {
            mode: {
                name: {level: row["accuracy"] for level, row in _by_difficulty(cells).items()}
                for name, cells in _grouped(own, lambda problem: problem.family).items()
            }
            for mode, own in samples.items()
        },
    }


async def _sample(
    client: GeneratorClient, problems: list[SyntheticProblem], mode: pb.Mode.ValueType, seed: int
) -> list[Sample]:
    prompts = [pb.RolloutPrompt(id=problem.id, question=problem.problem) for problem in problems]
    sampling = pb.Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=seed)
    pairs = []
    async for response in client.rollout(prompts, mode=mode, sampling=sampling):
        trajectory = response.trajectory
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            raise RuntimeError(f"infrastructure failure: {'; '.join(trajectory.notes)}")
        pairs.append((problems[response.prompt_index], trajectory))
    return pairs


def _by_family(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    groups = _grouped(samples, lambda problem: problem.family)
    return {family.name: asdict(_score(groups[family.name])) for family in FAMILIES if family.name in groups}


def _by_difficulty(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    groups = _grouped(samples, lambda problem: str(problem.difficulty))
    return {name: asdict(_score(own)) for name, own in sorted(groups.items())}


def _grouped(samples: Sequence[Sample], key: Callable[[SyntheticProblem], str]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(key(sample[0]), []).append(sample)
    return groups


def _score(pairs: Sequence[Sample]) -> ModelScore:
    correct = [same_canonical_form(trajectory.answer, problem.answer) for problem, trajectory in pairs]
    tokens = [trajectory.model_tokens for _, trajectory in pairs]
    with_code = [bool(trajectory.snippets) for _, trajectory in pairs]
    return ModelScore(
        problems=len(pairs),
        accuracy=_mean(correct),
        code_use=_mean(with_code),
        accuracy_with_code=_mean(ok for ok, used in zip(correct, with_code, strict=True) if used),
        model_tokens=_mean(tokens),
        model_tokens_with_code=_mean(n for n, used in zip(tokens, with_code, strict=True) if used),
    )


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return round(sum(values) / len(values), 3) if values else 0.0
