"""What folders of evaluations hold together: the samples of each configuration on each benchmark."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.evaluation.benchmark_registry import BENCHMARKS
from deepmath.evaluation.evaluation_plan import NAMES
from deepmath.evaluation.evaluation_run import GradedSample, Key, failures, read, settings

_ROWS, _COLUMNS = list(NAMES.values()), list(BENCHMARKS)
_OF_MORE_THAN_ONE = {"benchmarks", "configurations", "modes"}  # settings that say nothing of how samples are drawn


@dataclass(frozen=True)
class SampleRecord:
    """One configuration on one benchmark."""

    name: str
    """Of the configuration, in its folder."""
    benchmark: str
    folder: Path
    samples: tuple[GradedSample, ...]
    """Without text, code and output, which are gigabytes in a large run."""
    lost: int = 0
    """Samples that there are none of, by faults of ours."""
    failures: int = 0
    """How often a sample failed by a fault of ours, made up for or not."""
    ambiguous: bool = False
    """Whether folders have different things under this name."""

    @property
    def configuration(self) -> str:
        """The name, with that of the folder where it alone is ambiguous."""
        return f"{self.name} ({self.folder.resolve().name})" if self.ambiguous else self.name

    @property
    def drawn(self) -> int:
        """Samples of the problem that has most."""
        return max(Counter(sample.problem_id for sample in self.samples).values(), default=0)

    @property
    def label(self) -> str:
        """How a message calls it."""
        return f"{self.configuration} on {self.benchmark}"


def load(folders: Sequence[Path]) -> list[SampleRecord]:
    """Return what there is in `folders`: the seeds' configurations and benchmarks first and in their order.

    Raises:
        InvalidRequest: one of them is no evaluation or has no samples, or is given twice.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InvalidRequest("a folder is given twice; give each once")
    records = [record for folder in folders for record in _records(folder)]
    records.sort(key=lambda one: (_place(one.name, _ROWS), _place(one.benchmark, _COLUMNS)))
    ambiguous = {name for name in {one.name for one in records} if _is_ambiguous(name, records)}
    if ambiguous and len({folder.resolve().name for folder in folders}) < len(folders):
        raise InvalidRequest("two of the folders have one name, and would be confused in a table; rename one")
    return [replace(one, ambiguous=one.name in ambiguous) for one in records]


def benchmarks(records: Sequence[SampleRecord]) -> list[str]:
    """Return the names of all benchmarks, the seeds' first and in their order."""
    return sorted(dict.fromkeys(one.benchmark for one in records), key=lambda name: _place(name, _COLUMNS))


def _records(folder: Path) -> Iterator[SampleRecord]:
    samples: dict[tuple[str, str], list[GradedSample]] = {}
    done: set[Key] = set()
    try:
        for sample in read(folder):
            samples.setdefault(sample.key[:2], []).append(_light(sample))
            done.add(sample.key)
    except OSError as error:
        raise InvalidRequest(f"no evaluation in {folder}: {error.strerror}") from None
    failed = failures(folder)
    rows = list(dict.fromkeys([*samples, *(key[:2] for key in failed)]))
    if not rows:
        raise InvalidRequest(f"there is no sample in {folder} yet: run `deepmath eval --output {folder}` first")
    lost = Counter(key[:2] for key in failed if key not in done)
    faults: Counter[tuple[str, str]] = Counter()
    for key, times in failed.items():
        faults[key[:2]] += times
    for row in rows:
        yield SampleRecord(*row, folder, tuple(samples.get(row, ())), lost[row], faults[row])


def _light(sample: GradedSample) -> GradedSample:
    return replace(sample, text="", snippets=[{"outcome": snippet["outcome"]} for snippet in sample.snippets])


def _is_ambiguous(name: str, records: Sequence[SampleRecord]) -> bool:
    """Whether one row cannot have them all: twice the same benchmark, or samples that were drawn in other ways."""
    own = [one for one in records if one.name == name]
    folders = {one.folder for one in own}
    if len(folders) == 1:
        return False
    drawn = [{key: value for key, value in settings(one).items() if key not in _OF_MORE_THAN_ONE} for one in folders]
    return len({one.benchmark for one in own}) < len(own) or any(one != drawn[0] for one in drawn)


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)
