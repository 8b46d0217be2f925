"""Exclusion of the training problems that repeat a test problem of the run's own evaluation.

They are excluded, not refused: training loses little, and the test problems stay those of other runs. The log and the
run's folder say which.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from deepmath.data.contamination_index import ContaminationIndex
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.errors import InvalidRequest
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.training_data import load_problems

_MOST_NAMED = 20  # excluded problems that the log names

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContaminatedProblem:
    """A training problem that is excluded."""

    id: str
    test_id: str
    """Of the test problem that it repeats."""
    overlap: float
    """See `TestMatch`."""


@dataclass(frozen=True)
class TrainingSet:
    """The training problems of a run, and those that were excluded."""

    problems: list[DatasetProblem]
    contaminated: list[ContaminatedProblem]


def load_training_set(config: TrainConfig) -> TrainingSet:
    """Return the problems of `config.data` without those that repeat a test problem of `config.evaluation`.

    Raises:
        InvalidRequest, Unavailable: as `load_problems`; or no training problem is left.
    """
    problems = load_problems(config.data, config.seed)
    evaluation = config.evaluation
    if not evaluation.problems or not evaluation.decontaminate:
        return TrainingSet(problems, [])
    tests = load_problems(evaluation.data, seed=0, most=evaluation.problems)
    return _without_contaminated(problems, tests, config.data.dataset)


def _without_contaminated(
    problems: Sequence[DatasetProblem], tests: Sequence[DatasetProblem], dataset: str
) -> TrainingSet:
    index = ContaminationIndex(test.text for test in tests)
    clean, contaminated = [], []
    for problem in problems:
        if match := index.match(problem.text):
            contaminated.append(ContaminatedProblem(problem.id, tests[match.number].id, round(match.overlap, 3)))
        else:
            clean.append(problem)
    if contaminated:
        named = ", ".join(f"{one.id} ({one.test_id})" for one in contaminated[:_MOST_NAMED])
        more = ", ..." if len(contaminated) > _MOST_NAMED else ""
        message = (
            f"{len(contaminated)} of {len(problems)} problems in {dataset} repeat a test problem of evaluation.data"
        )
        if not clean:
            raise InvalidRequest(f"{message}; choose another split, or set evaluation.decontaminate to false")
        _log.warning("%s: %s%s; these problems are excluded from training", message, named, more)
    return TrainingSet(clean, contaminated)
