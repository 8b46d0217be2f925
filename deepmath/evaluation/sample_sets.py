"""The samples of each configuration on each benchmark, from one or more evaluation folders."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.evaluation.benchmark_registry import BENCHMARKS
from deepmath.evaluation.evaluation_files import count_failures, read_samples, read_settings
from deepmath.evaluation.evaluation_plan import CONFIGURATION_NAMES
from deepmath.evaluation.graded_sample import GradedSample, SampleKey

_CONFIGURATION_ORDER, _BENCHMARK_ORDER = list(CONFIGURATION_NAMES.values()), list(BENCHMARKS)
_SCOPE_SETTINGS = {"benchmarks", "configurations", "modes"}  # these do not affect how one sample is drawn


@dataclass(frozen=True)
class SampleSet:
    """The samples of one configuration on one benchmark."""

    name: str
    """The configuration's name in its folder."""
    benchmark: str
    folder: Path
    samples: tuple[GradedSample, ...]
    """Without text, code and output, which take gigabytes in a large run."""
    lost: int = 0
    """Samples missing because of infrastructure failures."""
    failures: int = 0
    """Infrastructure failures, including those that a later attempt made up for."""
    ambiguous: bool = False
    """Whether several folders use this name for different things."""

    @property
    def configuration(self) -> str:
        """The name, followed by the folder's name if it is ambiguous."""
        return f"{self.name} ({self.folder.resolve().name})" if self.ambiguous else self.name

    @property
    def max_k(self) -> int:
        """The largest number of samples of any problem."""
        return max(Counter(sample.problem_id for sample in self.samples).values(), default=0)

    @property
    def label(self) -> str:
        """The name of this set in messages."""
        return f"{self.configuration} on {self.benchmark}"


def load_sample_sets(folders: Sequence[Path]) -> list[SampleSet]:
    """Return the sample sets in `folders`, those of the DeepMath table first and in its order.

    Raises:
        InvalidRequest: a folder is not an evaluation, has no samples, or is given twice.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InvalidRequest("a folder is given twice; give each folder once")
    sets = [one for folder in folders for one in _sets_in(folder)]
    sets.sort(key=lambda one: (_rank(one.name, _CONFIGURATION_ORDER), _rank(one.benchmark, _BENCHMARK_ORDER)))
    ambiguous = {name for name in {one.name for one in sets} if _is_ambiguous(name, sets)}
    if ambiguous and len({folder.resolve().name for folder in folders}) < len(folders):
        raise InvalidRequest("two folders have the same name, which would be ambiguous in a table; rename one")
    return [replace(one, ambiguous=one.name in ambiguous) for one in sets]


def benchmark_names(sets: Sequence[SampleSet]) -> list[str]:
    """Return the distinct benchmarks, those of the DeepMath table first and in its order."""
    return sorted(dict.fromkeys(one.benchmark for one in sets), key=lambda name: _rank(name, _BENCHMARK_ORDER))


def _sets_in(folder: Path) -> Iterator[SampleSet]:
    samples: dict[tuple[str, str], list[GradedSample]] = {}
    completed: set[SampleKey] = set()
    try:
        for sample in read_samples(folder):
            samples.setdefault(sample.key[:2], []).append(_without_texts(sample))
            completed.add(sample.key)
    except OSError as error:
        raise InvalidRequest(f"no evaluation in {folder}: {error.strerror}") from None
    failures_by_sample = count_failures(folder)
    pairs = list(dict.fromkeys([*samples, *(key[:2] for key in failures_by_sample)]))
    if not pairs:
        raise InvalidRequest(f"no samples in {folder} yet; run `deepmath eval --output {folder}` first")
    lost = Counter(key[:2] for key in failures_by_sample if key not in completed)
    failures: Counter[tuple[str, str]] = Counter()
    for key, times in failures_by_sample.items():
        failures[key[:2]] += times
    for pair in pairs:
        yield SampleSet(*pair, folder, tuple(samples.get(pair, ())), lost[pair], failures[pair])


def _without_texts(sample: GradedSample) -> GradedSample:
    return replace(sample, text="", snippets=[{"outcome": snippet["outcome"]} for snippet in sample.snippets])


def _is_ambiguous(name: str, sets: Sequence[SampleSet]) -> bool:
    """Return whether the sets of this name cannot share a row: a repeated benchmark, or different sampling settings."""
    own = [one for one in sets if one.name == name]
    folders = {one.folder for one in own}
    if len(folders) == 1:
        return False
    sampling = [
        {key: value for key, value in read_settings(folder).items() if key not in _SCOPE_SETTINGS} for folder in folders
    ]
    return len({one.benchmark for one in own}) < len(own) or any(one != sampling[0] for one in sampling)


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)
