"""The training problems of a run. Solutions are dropped before anything reads them."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import cast

from deepmath.data.contamination_index import SeenQuestions
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.dataset_reader import DatasetSplit
from deepmath.data.json_rows import DatasetRow
from deepmath.data.problem_family_columns import FamilyColumns
from deepmath.data.reasoning_gym.gym_problems import gym_problems
from deepmath.data.reasoning_gym.gym_source import GymSource, is_gym_source
from deepmath.data.synthetic import Split, SyntheticProblem, generate
from deepmath.errors import InvalidRequest
from deepmath.grading.answer_normalization import canonical_form
from deepmath.grading.unescaped_latex import find_unescaped
from deepmath.grading.verifier import Verifier
from deepmath_trainer.run_config import DataConfig

SYNTHETIC_PROBLEMS = 4096
"""Number of `synthetic` problems without a limit."""
GYM_PROBLEMS = 1000
"""Number of problems of reasoning-gym without a limit: some of its generators take 0.2 s for each."""

_MOST_NAMED = 20  # excluded problems that the log names

# math-verify takes 10 to 20 ms to parse an answer, and OpenMathReasoning has tens of thousands that are not plain
# numbers. This many, drawn by the seed, are parsed here; for any other bad one the verifier gives no verdict.
_MOST_PARSED = 1000
_PARSE_S = 5.0
_MOST_WORKERS = 8

_Rows = Callable[[list[str]], Iterable[DatasetRow]]  # with these columns

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Layout:
    """The columns of a dataset, and which of its rows are fit for training."""

    problem: str = "problem"
    answer: str = "answer"
    where: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    split: str = "train"
    """The name of its training split."""


# By the dataset's name, whoever hosts the copy. OpenMathReasoning's answers are extracted from forum threads or are a
# model's majority; only the former are gold answers (dataset card).
_LAYOUTS = {
    "OpenMathReasoning": _Layout("problem", "expected_answer", {"problem_type": "has_answer_extracted"}, "tir"),
}


def load_problems(config: DataConfig, seed: int, most: int | None = None) -> list[DatasetProblem]:
    """Return the problems that `config` describes, or the first `most` of them, each question once.

    With a `limit` they are a sample drawn by `seed`. Problems whose answer cannot be parsed as mathematics are
    excluded, with a warning that names them. Local files and cached hub datasets are read without a network.

    Raises:
        InvalidRequest: the dataset, split or column does not exist, no problem remains, or more than `most_unparseable`
            of the answers cannot be parsed. The message names what exists.
        Unavailable: the hub cannot be reached, or math-verify cannot be started.
    """
    if is_gym_source(config.dataset):
        return _gym(config, seed, most)
    layout = _layout(config)
    columns, rows = _synthetic(config, seed) if config.dataset == "synthetic" else _read(config, layout)
    wanted = [layout.problem, layout.answer, *layout.where]
    if missing := [column for column in wanted if column not in columns]:
        raise InvalidRequest(
            f"{config.dataset} has no column {', '.join(missing)}; its columns are {', '.join(columns)}; set "
            "data.problem, data.answer and data.where"
        )
    families = FamilyColumns.among(columns)
    used = rows(list(dict.fromkeys([*wanted, *families.names])))
    problems = list(_problems(used, layout, families, config.max_problem_chars or sys.maxsize))
    if not problems:
        raise InvalidRequest(f"no problem of {config.dataset} matches; check data.where and data.max_problem_chars")
    if config.limit is not None and config.limit < len(problems):
        problems = Random(f"limit:{seed}").sample(problems, config.limit)
    return _with_parseable_answers(problems, config, seed)[:most]


def _gym(config: DataConfig, seed: int, most: int | None) -> list[DatasetProblem]:
    """Return problems with their own scorers; settings that describe a file do not apply."""
    if unused := [name for name in ("subset", "problem", "answer", "where") if getattr(config, name)]:
        raise InvalidRequest(f"data.{unused[0]} does not apply to {config.dataset}; remove it")
    count = min(filter(None, (config.limit or GYM_PROBLEMS, most)))
    problems = gym_problems(GymSource.parse(config.dataset), count, config.split, seed)
    most_characters = config.max_problem_chars or sys.maxsize
    if not (short := [problem for problem in problems if len(problem.text) <= most_characters]):
        raise InvalidRequest(f"every question of {config.dataset} is longer than data.max_problem_chars")
    return short


def _layout(config: DataConfig) -> _Layout:
    """Return the known layout of the dataset, overridden by the configuration."""
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
    return [column.name for column in fields(SyntheticProblem)], lambda _: (DatasetRow(asdict(one)) for one in made)


def _read(config: DataConfig, layout: _Layout) -> tuple[list[str], _Rows]:
    dataset = DatasetSplit(config.dataset, config.subset, layout.split)
    return dataset.columns, dataset.rows


def _problems(
    rows: Iterable[DatasetRow], layout: _Layout, families: FamilyColumns, most_characters: int
) -> Iterator[DatasetProblem]:
    """Yield the problems that match `layout`; of several with the same question in any spelling, the first."""
    seen = SeenQuestions()
    for row in rows:
        if not all(_equals(row[name], value) for name, value in layout.where.items()):
            continue
        cells = (row[layout.problem], row[layout.answer])
        problem = DatasetProblem.of(*cells, where=row.where, **families.cells(row))
        if 0 < len(problem.text) <= most_characters and seen.add(problem.text) is None:
            yield problem


def _equals(value: object, wanted: object) -> bool:
    return value == wanted or str(value) == str(wanted)


def _with_parseable_answers(problems: list[DatasetProblem], config: DataConfig, seed: int) -> list[DatasetProblem]:
    """Exclude the problems whose gold answer cannot be parsed."""
    texts = sorted({problem.answer for problem in problems if not isinstance(canonical_form(problem.answer), Fraction)})
    parsed = texts if len(texts) <= _MOST_PARSED else Random(f"parsed:{seed}").sample(texts, _MOST_PARSED)
    with Verifier(min(len(os.sched_getaffinity(0)), _MOST_WORKERS), _PARSE_S) as verifier:
        verdicts = dict(zip(parsed, verifier.check_golds(parsed), strict=True))
    parseable = {answer: verdict.correct is True for answer, verdict in verdicts.items()}
    parseable |= {text: False for text in texts if find_unescaped(text)}
    excluded = [problem for problem in problems if not parseable.get(problem.answer, True)]
    share = len(excluded) / len(problems) * len(texts) / max(len(parsed), 1)
    if excluded:
        named = ", ".join(f"{problem.id} ({problem.answer!r:.60})" for problem in excluded[:_MOST_NAMED])
        more = ", ..." if len(excluded) > _MOST_NAMED else ""
        counts = f"{len(excluded)} of {len(problems)} answers in {config.dataset}"
        message = f"{counts} could not be parsed as mathematics: {named}{more}"
        if len(excluded) == len(problems) or share > config.most_unparseable:
            raise InvalidRequest(f"{message}; check data.answer, or raise data.most_unparseable")
        _log.warning("%s; these problems are excluded", message)
    return [problem for problem in problems if parseable.get(problem.answer, True)]
