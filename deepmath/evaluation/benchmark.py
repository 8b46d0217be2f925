"""A named set of problems, read from the splits of a dataset by the names of their columns."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.dataset_reader import DatasetSplit
from deepmath.data.json_rows import DatasetRow
from deepmath.data.problem_family_columns import FamilyColumns
from deepmath.data.reasoning_gym.gym_problems import gym_problems
from deepmath.data.reasoning_gym.gym_source import GymSource, is_gym_source
from deepmath.data.synthetic import generate
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.user_files import user_path

_GENERATED_PROBLEMS = 200
_GENERATED_SEED = 2025  # not a default seed of training or its evaluations

# Names of the same column in other copies of a dataset, in any case. The benchmark's own name comes first.
_QUESTIONS = ("problem", "question")
_ANSWERS = ("answer", "final_answer", "expected_answer", "short answer")


@dataclass(frozen=True)
class BenchmarkSplit:
    """One split of a dataset: a hub name with what the hub calls a configuration, or a file or folder."""

    dataset: str
    subset: str | None = None
    split: str = "test"


SYNTHETIC = BenchmarkSplit("synthetic")


@dataclass(frozen=True)
class Benchmark:
    """A named set of problems. A row is included if its columns have the values of `filters`."""

    name: str
    splits: tuple[BenchmarkSplit, ...]
    problem: str = "problem"
    answer: str = "answer"
    id: str | None = None
    """Column of the id. Where it is missing or empty, the id is the digest of the question."""
    filters: Mapping[str, str] = field(default_factory=dict)

    def copy_at(self, path: str) -> "Benchmark":
        """Return this benchmark, read from a copy: a folder with the splits of the original, or a file of one split."""
        if user_path(path).is_file():
            return replace(self, splits=(BenchmarkSplit(path),))
        return replace(self, splits=tuple(replace(split, dataset=path) for split in self.splits))

    def problems(self, limit: int | None = None) -> list[DatasetProblem]:
        """Return the first `limit` problems. No two of them have the same question or id.

        Raises:
            InvalidRequest: there is no such dataset, split or column, or no problem; the message lists alternatives.
            Unavailable: the dataset is neither local nor in the hub's cache, and the hub cannot be reached.
        """
        if self.splits == (SYNTHETIC,):
            return [
                DatasetProblem(one.id, one.problem, one.answer, None, one.family, one.difficulty)
                for one in generate(limit or _GENERATED_PROBLEMS, "test", _GENERATED_SEED)
            ]
        if is_gym_source(self.name):
            return gym_problems(GymSource.parse(self.name), limit or _GENERATED_PROBLEMS, "test", _GENERATED_SEED)
        found = list(islice(_with_distinct_ids(self.rows()), limit))
        if not found:
            raise InvalidRequest(f"{self.name} has no problems")
        return found

    def rows(self) -> Iterator[DatasetProblem]:
        """Yield the problems of all rows of a dataset one at a time, repeated ones too. Raises as `problems`."""
        for split in self.splits:
            try:
                dataset = DatasetSplit(split.dataset, split.subset, split.split)
            except Unavailable as error:
                raise Unavailable(
                    f"{error}. To download {self.name}: `hf download --repo-type dataset {split.dataset}`. To evaluate "
                    f"a copy in a folder: `--benchmark {self.name}=FOLDER`"
                ) from None
            columns = dataset.columns
            problem = _column(self.problem, _QUESTIONS, columns)
            answer = _column(self.answer, _ANSWERS, columns)
            if missing := [column for column in (problem, answer, *self.filters) if column not in columns]:
                raise InvalidRequest(f"{split.dataset} has no column {', '.join(missing)}; it has {', '.join(columns)}")
            own_id = self.id if self.id in columns else None
            families = FamilyColumns.among(columns)
            wanted = [problem, answer, *filter(None, [own_id]), *self.filters, *families.names]
            for row in dataset.rows(list(dict.fromkeys(wanted))):
                cells = (row[problem], row[answer], row[own_id] if own_id else None, row.where)
                found = DatasetProblem.of(*cells, **families.cells(row))
                if found.text and self._includes(row):
                    yield found

    def _includes(self, row: DatasetRow) -> bool:
        return all(str(row[column] or "") == value for column, value in self.filters.items())


def _column(own: str, others: tuple[str, ...], columns: list[str]) -> str:
    """Return the column that is there: `own`, or else one with another usual name."""
    if own in columns:
        return own
    by_name = {column.lower(): column for column in columns}
    return next((by_name[name] for name in (own.lower(), *others) if name in by_name), own)


def _with_distinct_ids(problems: Iterable[DatasetProblem]) -> Iterator[DatasetProblem]:
    """Yield each question once. A dataset's own id that another question has is replaced by the digest."""
    questions: set[str] = set()
    ids: set[str] = set()
    for problem in problems:
        if (digest := problem.digest) not in questions:
            own = problem.with_digest() if problem.id in ids else problem
            questions.add(digest)
            ids.add(own.id)
            yield own
