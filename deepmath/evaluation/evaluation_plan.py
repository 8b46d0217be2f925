"""What an evaluation draws: configurations, problems, and how many samples of each."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from deepmath.clients.model_files import ADAPTER_WEIGHTS
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.evaluation.evaluation_run import Key
from deepmath.generator.v1 import generator_pb2 as pb

# The seeds' names, by whether the model was taught and whether it has tools.
NAMES = {
    (False, "plain"): "Baseline",
    (True, "plain"): "+GRPO",
    (False, "agent"): "+Agent",
    (True, "agent"): "DeepMath",
}


@dataclass(frozen=True)
class EvaluationConfiguration:
    """A row of the table: how a generator is asked, under a name."""

    name: str
    mode: str
    """`plain` or `agent`."""
    adapter: bool = False
    """Whether the model has the plan's adapter."""


@dataclass(frozen=True)
class EvaluationPlan:
    """Everything that decides what the samples are. Draws are repeatable: problem and number give the seed."""

    model: str
    problems: Mapping[str, Sequence[DatasetProblem]]
    """By benchmark."""
    configurations: tuple[EvaluationConfiguration, ...]
    samples: int
    """Of each problem."""
    sampling: pb.Sampling
    budget: pb.Budget
    adapter: Path | None = None
    prompt: str | None = None
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """Return what a folder has to have been begun with to go on; more samples and problems may be asked for."""
        return {
            "model": self.model,
            "adapter": _digest(self.adapter / ADAPTER_WEIGHTS) if self.adapter else None,
            "prompt": self.prompt,
            "configurations": [one.name for one in self.configurations],
            "modes": [one.mode for one in self.configurations],
            "benchmarks": list(self.problems),
            "sampling": _values(self.sampling),
            "budget": _values(self.budget),
            "seed": self.seed,
        }

    def keys(self, configuration: EvaluationConfiguration, benchmark: str) -> Iterator[tuple[Key, DatasetProblem]]:
        """Yield each sample with its problem: the first of each problem first, so that what ends early has of all."""
        for number in range(self.samples):
            for problem in self.problems[benchmark]:
                yield (configuration.name, benchmark, problem.id, number), problem


def four_way() -> tuple[EvaluationConfiguration, ...]:
    """Return the rows of the seeds' table."""
    return tuple(EvaluationConfiguration(name, mode, adapter) for (adapter, mode), name in NAMES.items())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _values(message: pb.Sampling | pb.Budget) -> dict[str, Any]:
    values: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return values
