"""The plan of an evaluation: configurations, problems, and the number of samples of each."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from deepmath.clients.model_files import ADAPTER_WEIGHTS
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.reasoning_gym.gym_problems import gym_version
from deepmath.evaluation.graded_sample import SampleKey
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.gym_entry import GymTask

CONFIGURATION_NAMES = {
    (False, "plain"): "Baseline",
    (True, "plain"): "+GRPO",
    (False, "agent"): "+Agent",
    (True, "agent"): "DeepMath",
}
"""The names in the DeepMath model card, by whether the model is fine-tuned, and by mode."""


@dataclass(frozen=True)
class EvaluationConfiguration:
    """A named way to run the generator: one row of the results table."""

    name: str
    mode: str
    """`plain` or `agent`."""
    adapter: bool = False
    """Whether the model has the plan's adapter."""


@dataclass(frozen=True)
class EvaluationPlan:
    """Everything that determines the samples. Sampling is repeatable: problem and sample number give the seed."""

    model: str
    problems: Mapping[str, Sequence[DatasetProblem]]
    """By benchmark."""
    configurations: tuple[EvaluationConfiguration, ...]
    samples: int
    """Per problem."""
    sampling: pb.Sampling
    budget: pb.Budget
    adapter: Path | None = None
    prompt: str | None = None
    dialect: str | None = None
    """None: the one that the generator chooses."""
    seed: int = 0

    @property
    def gym_tasks(self) -> frozenset[GymTask]:
        """The tasks of reasoning-gym, whose scorers the verifier needs."""
        return frozenset(one.entry.task for problems in self.problems.values() for one in problems if one.entry)

    def settings(self) -> dict[str, Any]:
        """Return the settings that an evaluation folder must share. The numbers of samples and problems may grow."""
        return {
            "model": self.model,
            "adapter": _sha256(self.adapter / ADAPTER_WEIGHTS) if self.adapter else None,
            "prompt": self.prompt,
            "dialect": self.dialect,
            "configurations": [one.name for one in self.configurations],
            "modes": [one.mode for one in self.configurations],
            "benchmarks": list(self.problems),
            "sampling": _to_dict(self.sampling),
            "budget": _to_dict(self.budget),
            "seed": self.seed,
            **({"reasoning_gym": gym_version()} if self.gym_tasks else {}),  # other versions generate other problems
        }

    def keys(
        self, configuration: EvaluationConfiguration, benchmark: str
    ) -> Iterator[tuple[SampleKey, DatasetProblem]]:
        """Yield each sample with its problem, the first of every problem first: a run cut short covers all problems."""
        for number in range(self.samples):
            for problem in self.problems[benchmark]:
                yield SampleKey(configuration.name, benchmark, problem.id, number), problem


def four_way() -> tuple[EvaluationConfiguration, ...]:
    """Return the rows of the DeepMath table."""
    return tuple(EvaluationConfiguration(name, mode, adapter) for (adapter, mode), name in CONFIGURATION_NAMES.items())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_dict(message: pb.Sampling | pb.Budget) -> dict[str, Any]:
    values: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return values
