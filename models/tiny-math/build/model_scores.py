"""Scores of the model, measured through the real services with one sample per problem."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from deepmath.clients import GeneratorClient
from deepmath.data.synthetic import FAMILIES, SyntheticProblem, generate
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.answer_normalization import same_canonical_form
from deepmath.local_stack.stack import LocalStack

MODES = {"agent": pb.MODE_AGENT, "plain": pb.MODE_PLAIN}


@dataclass(frozen=True)
class ModelScore:
    """Means over the problems of one family, or of all families."""

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


async def score(model: Path, per_family: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Sample test problems at temperature 1; return mode -> family or `all` -> fields of `ModelScore`.

    Raises:
        RuntimeError: a trajectory ended in an infrastructure failure.
    """
    problems = list(generate(per_family * len(FAMILIES), "test", seed))
    async with LocalStack(str(model)) as stack, GeneratorClient(stack.generator) as client:
        return {name: _table(await _sample(client, problems, mode, seed)) for name, mode in MODES.items()}


async def _sample(
    client: GeneratorClient, problems: list[SyntheticProblem], mode: pb.Mode.ValueType, seed: int
) -> list[tuple[SyntheticProblem, pb.Trajectory]]:
    prompts = [pb.RolloutPrompt(id=problem.id, question=problem.problem) for problem in problems]
    sampling = pb.Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=seed)
    pairs = []
    async for response in client.rollout(prompts, mode=mode, sampling=sampling):
        trajectory = response.trajectory
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            raise RuntimeError(f"infrastructure failure: {'; '.join(trajectory.notes)}")
        pairs.append((problems[response.prompt_index], trajectory))
    return pairs


def _table(pairs: list[tuple[SyntheticProblem, pb.Trajectory]]) -> dict[str, dict[str, float]]:
    families: dict[str, list[tuple[SyntheticProblem, pb.Trajectory]]] = defaultdict(list)
    for problem, trajectory in pairs:
        families[problem.family].append((problem, trajectory))
    rows = {family.name: asdict(_score(families[family.name])) for family in FAMILIES if families[family.name]}
    return rows | {"all": asdict(_score(pairs))}


def _score(pairs: list[tuple[SyntheticProblem, pb.Trajectory]]) -> ModelScore:
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
