"""Registry of benchmarks: well-known ones by name, and any dataset by its columns."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.dataset_reader import DatasetSplit
from deepmath.data.json_rows import DatasetRow
from deepmath.data.reasoning_gym.gym_problems import gym_problems
from deepmath.data.reasoning_gym.gym_source import GymSource, is_gym_source
from deepmath.data.synthetic import generate
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.user_files import user_path

_GENERATED_PROBLEMS = 200
_GENERATED_SEED = 2025  # not a default seed of training or its evaluations


@dataclass(frozen=True)
class BenchmarkSplit:
    """One split of a dataset: a hub name with what the hub calls a configuration, or a file or folder."""

    dataset: str
    subset: str | None = None
    split: str = "test"


@dataclass(frozen=True)
class Benchmark:
    """A named set of problems. A row is included if its columns have the values of `filters`."""

    name: str
    splits: tuple[BenchmarkSplit, ...]
    problem: str = "problem"
    answer: str = "answer"
    id: str | None = None
    """Column of the id. By default the id is the digest of the question."""
    filters: Mapping[str, str] = field(default_factory=dict)

    def problems(self, limit: int | None = None) -> list[DatasetProblem]:
        """Return the first `limit` problems, without duplicates.

        Raises:
            InvalidRequest: there is no such dataset, split or column, or no problem; the message lists alternatives.
            Unavailable: the dataset is neither local nor in the hub's cache, and the hub cannot be reached.
        """
        if self.splits == (_SYNTHETIC,):
            return [
                DatasetProblem(one.id, one.problem, one.answer)
                for one in generate(limit or _GENERATED_PROBLEMS, "test", _GENERATED_SEED)
            ]
        if is_gym_source(self.name):
            return gym_problems(GymSource.parse(self.name), limit or _GENERATED_PROBLEMS, "test", _GENERATED_SEED)
        found = list(islice(_unique(self._all()), limit))
        if not found:
            raise InvalidRequest(f"{self.name} has no problems")
        return found

    def _all(self) -> Iterator[DatasetProblem]:
        for split in self.splits:
            try:
                dataset = DatasetSplit(split.dataset, split.subset, split.split)
            except Unavailable as error:
                raise Unavailable(
                    f"{error}. To download {self.name}: `hf download --repo-type dataset {split.dataset}`. To evaluate "
                    f"a copy in a folder: `--benchmark {self.name}=FOLDER`"
                ) from None
            problem = self.problem
            if problem not in dataset.columns and "question" in dataset.columns:
                problem = "question"
            wanted = [problem, self.answer, *([self.id] if self.id else []), *self.filters]
            if missing := [column for column in wanted if column not in dataset.columns]:
                raise InvalidRequest(
                    f"{split.dataset} has no column {', '.join(missing)}; it has {', '.join(dataset.columns)}"
                )
            yield from self._matching(dataset.rows(wanted), problem)

    def _matching(self, rows: Iterable[DatasetRow], column: str) -> Iterator[DatasetProblem]:
        for row in rows:
            problem = DatasetProblem.of(row[column], row[self.answer], row[self.id] if self.id else None, row.where)
            if problem.text and all(str(row[column] or "") == value for column, value in self.filters.items()):
                yield problem


_SYNTHETIC = BenchmarkSplit("synthetic")

# Columns as in the datasets' cards and files in November 2026. hle-math is filtered to mathematics without images.
BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark("math500", (BenchmarkSplit("HuggingFaceH4/MATH-500"),), id="unique_id"),
        Benchmark(
            "aime2025",
            (
                BenchmarkSplit("opencompass/AIME2025", "AIME2025-I"),
                BenchmarkSplit("opencompass/AIME2025", "AIME2025-II"),
            ),
            problem="question",
        ),
        Benchmark("hmmt-feb-2025", (BenchmarkSplit("MathArena/hmmt_feb_2025", split="train"),), id="problem_idx"),
        Benchmark(
            "hle-math",
            (BenchmarkSplit("cais/hle"),),
            problem="question",
            id="id",
            filters={"category": "Math", "image": ""},
        ),
        Benchmark(
            "openmathreasoning-tir",
            (BenchmarkSplit("nvidia/OpenMathReasoning", split="tir"),),
            answer="expected_answer",
            filters={"problem_type": "has_answer_extracted"},
        ),
        Benchmark("synthetic", (_SYNTHETIC,)),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark for `name`: `math500`, `math500=FOLDER` for a copy of it, a file, or a hub name.

    `reasoning-gym:TASK` or a mix is a benchmark as well, see `GymSource`.

    Raises:
        InvalidRequest: there is no benchmark of that name.
    """
    if is_gym_source(name):
        return Benchmark(GymSource.parse(name).text, ())
    known, _, copy = name.partition("=")
    if known in BENCHMARKS:
        found = BENCHMARKS[known]
        return replace(found, splits=tuple(replace(split, dataset=copy) for split in found.splits)) if copy else found
    path = user_path(name)
    if not path.exists() and "/" not in name:
        near = get_close_matches(known, BENCHMARKS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(BENCHMARKS)}"
        raise InvalidRequest(f"{name!r} is neither a benchmark nor a file; {hint}")
    return Benchmark(path.stem if path.exists() else name, (BenchmarkSplit(name),))


def _unique(problems: Iterable[DatasetProblem]) -> Iterator[DatasetProblem]:
    seen: set[str] = set()
    for problem in problems:
        if problem.id not in seen:
            seen.add(problem.id)
            yield problem
