"""Where benchmarks have their problems: those of the field by name, and any dataset by its columns."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.dataset_reader import DatasetRow, DatasetSplit
from deepmath.data.synthetic import generate
from deepmath.errors import InvalidRequest, Unavailable

_SYNTHETIC_PROBLEMS = 200
_SYNTHETIC_SEED = 2025  # another one than any that training or its evaluations use by default


@dataclass(frozen=True)
class BenchmarkPart:
    """One split of a dataset: a hub name with what the hub calls a configuration, or a file or folder."""

    dataset: str
    subset: str | None = None
    split: str = "test"


@dataclass(frozen=True)
class BenchmarkSource:
    """Problems under a name. Rows are kept whose columns have the values of `where`."""

    name: str
    parts: tuple[BenchmarkPart, ...]
    problem: str = "problem"
    answer: str = "answer"
    id: str | None = None
    """Column of the id. Without one, a problem is called by its text's digest."""
    where: Mapping[str, str] = field(default_factory=dict)

    def problems(self, limit: int | None = None) -> list[DatasetProblem]:
        """Return the first `limit` problems, each question once.

        Raises:
            InvalidRequest: there is no such dataset, split or column, or no problem; the message names what is there.
            Unavailable: it is neither here nor in the hub's cache, and the hub cannot be reached.
        """
        if self.parts == (_SYNTHETIC,):
            return [
                DatasetProblem(one.id, one.problem, one.answer)
                for one in generate(limit or _SYNTHETIC_PROBLEMS, "test", _SYNTHETIC_SEED)
            ]
        found = list(islice(_once(self._all()), limit))
        if not found:
            raise InvalidRequest(f"{self.name} has no problem")
        return found

    def _all(self) -> Iterator[DatasetProblem]:
        for part in self.parts:
            try:
                dataset = DatasetSplit(part.dataset, part.subset, part.split)
            except Unavailable as error:
                raise Unavailable(
                    f"{error}. Of {self.name} that is `hf download --repo-type dataset {part.dataset}`; copied to any "
                    f"folder, it is evaluated by `--benchmark {self.name}=FOLDER`"
                ) from None
            wanted = [self.problem, self.answer, *([self.id] if self.id else []), *self.where]
            if missing := [column for column in wanted if column not in dataset.columns]:
                raise InvalidRequest(
                    f"{part.dataset} has no column {', '.join(missing)}; it has {', '.join(dataset.columns)}"
                )
            yield from self._of(dataset.rows(wanted))

    def _of(self, rows: Iterable[DatasetRow]) -> Iterator[DatasetProblem]:
        for row in rows:
            problem = DatasetProblem.of(row[self.problem], row[self.answer], row[self.id] if self.id else None)
            if problem.text and all(str(row[column] or "") == value for column, value in self.where.items()):
                yield problem


_SYNTHETIC = BenchmarkPart("synthetic")

# Columns as the datasets' cards and files have them, in November 2026. `where` of hle-math: no picture, mathematics.
BENCHMARKS = {
    one.name: one
    for one in (
        BenchmarkSource("math500", (BenchmarkPart("HuggingFaceH4/MATH-500"),), id="unique_id"),
        BenchmarkSource(
            "aime2025",
            (BenchmarkPart("opencompass/AIME2025", "AIME2025-I"), BenchmarkPart("opencompass/AIME2025", "AIME2025-II")),
            problem="question",
        ),
        BenchmarkSource("hmmt-feb-2025", (BenchmarkPart("MathArena/hmmt_feb_2025", split="train"),), id="problem_idx"),
        BenchmarkSource(
            "hle-math",
            (BenchmarkPart("cais/hle"),),
            problem="question",
            id="id",
            where={"category": "Math", "image": ""},
        ),
        BenchmarkSource(
            "openmathreasoning-tir",
            (BenchmarkPart("nvidia/OpenMathReasoning", split="tir"),),
            answer="expected_answer",
            where={"problem_type": "has_answer_extracted"},
        ),
        BenchmarkSource("synthetic", (_SYNTHETIC,)),
    )
}


def find(name: str) -> BenchmarkSource:
    """Return the benchmark that `name` says: `math500`, `math500=FOLDER` for a copy of it, a file, or a hub name.

    Raises:
        InvalidRequest: there is none of that name.
    """
    known, _, copy = name.partition("=")
    if known in BENCHMARKS:
        found = BENCHMARKS[known]
        return replace(found, parts=tuple(replace(part, dataset=copy) for part in found.parts)) if copy else found
    if not Path(name).exists() and "/" not in name:
        near = get_close_matches(known, BENCHMARKS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(BENCHMARKS)}"
        raise InvalidRequest(f"there is no benchmark and no file {name!r}{hint}")
    return BenchmarkSource(Path(name).stem if Path(name).exists() else name, (BenchmarkPart(name),))


def _once(problems: Iterable[DatasetProblem]) -> Iterator[DatasetProblem]:
    seen: set[str] = set()
    for problem in problems:
        if problem.id not in seen:
            seen.add(problem.id)
            yield problem
