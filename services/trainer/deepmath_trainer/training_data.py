r"""The problems of a run, and the order in which they come. Solutions are dropped before anything reads them."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import cast

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.dataset_reader import DatasetRow, DatasetSplit
from deepmath.data.synthetic import Split, SyntheticProblem, generate
from deepmath.errors import InvalidRequest
from deepmath.grading.answer_normalization import canonical_form
from deepmath.grading.verifier import Verifier
from deepmath_trainer.run_config import DataConfig

SYNTHETIC_PROBLEMS = 4096
"""As many as `synthetic` has where no limit is set."""

_NAMED = 20  # problems left out that the log names

# Parsing an answer takes math-verify 10 to 20 ms, and OpenMathReasoning has tens of thousands that are no plain
# numbers. So many, drawn by the seed, are parsed here; if another one is bad, the verifier gives no verdict on answers
# to it.
_MOST_PARSED = 1000
_PARSE_S = 5.0
_MOST_WORKERS = 8

_Rows = Callable[[list[str]], Iterable[DatasetRow]]  # of these columns

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProblemOrder:
    """An endless pass over `count` problems: each epoch is another permutation, all of them the seed's."""

    count: int
    seed: int

    def indices(self, start: int, count: int) -> list[int]:
        """Return the problems at `count` positions from `start` on. A position is all that has to be remembered."""
        places = (divmod(position, self.count) for position in range(start, start + count))
        return [_permutation(self.count, self.seed, epoch)[place] for epoch, place in places]


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> list[int]:
    order = list(range(count))
    Random(f"{seed}:{epoch}").shuffle(order)  # a string seeds by its SHA-512, the same in every process
    return order


@dataclass(frozen=True)
class _Layout:
    """Where a dataset has its problems, and which rows of it are fit for training."""

    problem: str = "problem"
    answer: str = "answer"
    where: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    split: str = "train"
    """What it has in place of `train`."""


# By a dataset's own name, whoever holds the copy. OpenMathReasoning's answers were extracted from forum threads, or
# else are a model's majority; only those of the first kind are right answers (dataset card).
_LAYOUTS = {
    "OpenMathReasoning": _Layout("problem", "expected_answer", {"problem_type": "has_answer_extracted"}, "tir"),
}


def load_problems(config: DataConfig, seed: int) -> list[DatasetProblem]:
    """Return the problems that `config` describes, each question once.

    With a `limit` they are a sample drawn by `seed`. Problems whose answer is no mathematics are left out, with a
    warning that names them. Local files and cached hub datasets are read without a network.

    Raises:
        InvalidRequest: there is no such dataset, split or column, nothing is left, or over `most_unparseable` of the
            answers are no mathematics. The message names what is there.
        Unavailable: the hub cannot be reached, or math-verify not be started.
    """
    layout = _layout(config)
    columns, rows = _synthetic(config, seed) if config.dataset == "synthetic" else _read(config, layout)
    wanted = [layout.problem, layout.answer, *layout.where]
    if missing := [column for column in wanted if column not in columns]:
        raise InvalidRequest(
            f"{config.dataset} has no column {', '.join(missing)}; it has {', '.join(columns)}: name them in "
            "data.problem, data.answer and data.where"
        )
    problems = list(_problems(rows(wanted), layout, config.max_problem_chars or sys.maxsize))
    if not problems:
        raise InvalidRequest(f"{config.dataset} has no such problem: check data.where and data.max_problem_chars")
    if config.limit is not None and config.limit < len(problems):
        problems = Random(f"limit:{seed}").sample(problems, config.limit)
    return _with_usable_answers(problems, config, seed)


def _layout(config: DataConfig) -> _Layout:
    """The dataset's own layout, with what the configuration says in its place."""
    own = _LAYOUTS.get(Path(config.dataset).name, _Layout())
    return _Layout(
        problem=config.problem or own.problem,
        answer=config.answer or own.answer,
        where={**own.where, **config.where},
        split=own.split if config.split == "train" else config.split,
    )


def _synthetic(config: DataConfig, seed: int) -> tuple[list[str], _Rows]:
    try:
        made = generate(config.limit or SYNTHETIC_PROBLEMS, cast(Split, config.split), seed)
    except ValueError as error:
        raise InvalidRequest(f"data.{error}") from None
    return [column.name for column in fields(SyntheticProblem)], lambda _: map(asdict, made)


def _read(config: DataConfig, layout: _Layout) -> tuple[list[str], _Rows]:
    dataset = DatasetSplit(config.dataset, config.subset, layout.split)
    return dataset.columns, dataset.rows


def _problems(rows: Iterable[DatasetRow], layout: _Layout, most_characters: int) -> Iterator[DatasetProblem]:
    """Yield the problems that `layout` lets pass; of those with the same question the first."""
    given: set[str] = set()
    for row in rows:
        if not all(_is(row[name], value) for name, value in layout.where.items()):
            continue
        problem = DatasetProblem.of(row[layout.problem], row[layout.answer])
        if 0 < len(problem.text) <= most_characters and problem.id not in given:
            given.add(problem.id)
            yield problem


def _is(value: object, wanted: object) -> bool:
    return value == wanted or str(value) == str(wanted)


def _with_usable_answers(problems: list[DatasetProblem], config: DataConfig, seed: int) -> list[DatasetProblem]:
    """Leave out the problems whose answer nothing can be compared with."""
    texts = sorted({problem.answer for problem in problems if not isinstance(canonical_form(problem.answer), Fraction)})
    parsed = texts if len(texts) <= _MOST_PARSED else Random(f"parsed:{seed}").sample(texts, _MOST_PARSED)
    with Verifier(min(len(os.sched_getaffinity(0)), _MOST_WORKERS), _PARSE_S) as verifier:
        usable = dict(zip(parsed, verifier.check_golds(parsed), strict=True))
    left_out = [problem for problem in problems if not usable.get(problem.answer, True)]
    share = len(left_out) / len(problems) * len(texts) / max(len(parsed), 1)
    if left_out:
        named = ", ".join(f"{problem.id} ({problem.answer!r:.60})" for problem in left_out[:_NAMED])
        more = ", ..." if len(left_out) > _NAMED else ""
        message = f"{len(left_out)} of {len(problems)} answers of {config.dataset} are no mathematics: {named}{more}"
        if len(left_out) == len(problems) or share > config.most_unparseable:
            raise InvalidRequest(f"{message}; is data.answer right? Else raise data.most_unparseable")
        _log.warning("%s; their problems are left out", message)
    return [problem for problem in problems if usable.get(problem.answer, True)]
