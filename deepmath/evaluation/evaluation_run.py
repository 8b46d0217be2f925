"""An evaluation on disk: what was asked for, and a line for each sample that ended, so that a killed one goes on.

A folder with `settings.json`, `problems.jsonl`, `samples.jsonl` and `failures.jsonl`. Lines are appended whole; the
last one of a process that was killed may be torn, and is cut off by the next. What failed by a fault of ours is no
sample: it goes to `failures.jsonl`, and is tried again.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, Self

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.errors import InvalidRequest, WrongOrder

_SETTINGS, _PROBLEMS, _SAMPLES, _FAILURES = "settings.json", "problems.jsonl", "samples.jsonl", "failures.jsonl"
_BLOCK = 1 << 16


Key = tuple[str, str, str, int]
"""Configuration, benchmark, problem and number: what makes a sample this one and no other."""


@dataclass(frozen=True)
class GradedSample:
    """One trajectory and its verdict."""

    configuration: str
    """What was evaluated: `Baseline`, `DeepMath`, or a name of the user's."""
    benchmark: str
    problem_id: str
    sample: int
    """From 0, of the samples of this problem."""
    mode: str
    """`plain` or `agent`."""
    gold: str
    answer: str
    correct: bool | None
    """None: the comparison took too long."""
    status: str
    text: str
    model_tokens: int
    tool_tokens: int
    snippets: list[dict[str, Any]]
    seconds: float

    @property
    def key(self) -> Key:
        """What makes it this sample and no other."""
        return self.configuration, self.benchmark, self.problem_id, self.sample


class EvaluationRun:
    """The evaluation in `folder`, open for writing; a context manager. One process at a time.

    `settings` are whatever decides what a sample is (model, adapter, mode, sampling, limits, benchmarks); a folder that
    was begun with others is refused.

    Raises:
        InvalidRequest: the folder cannot be written to, was begun with other settings, or is damaged.
        WrongOrder: another process is at work on it.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._samples = (folder / _SAMPLES).open("a+b")
            self._failures = (folder / _FAILURES).open("a+b")
        except OSError as error:
            raise InvalidRequest(f"cannot write to {folder}: {error.strerror}") from None
        try:
            fcntl.flock(self._samples, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise WrongOrder(f"another process is at work on {folder}") from None
        try:
            self._begin(settings)
        except InvalidRequest:
            self.close()
            raise

    def _begin(self, settings: dict[str, Any]) -> None:
        place = self.folder / _SETTINGS
        if place.exists():
            _check(self.folder, settings)
        else:
            writing = place.with_suffix(".writing")
            writing.write_text(json.dumps(settings, indent=2) + "\n")
            writing.replace(place)
        for file in (self._samples, self._failures):
            _cut_torn_line(file)
        self.done = {sample.key: sample.correct for sample in read(self.folder)}
        """Verdicts of the samples that there are."""

    def add_problems(self, benchmark: str, problems: Iterable[DatasetProblem]) -> None:
        """Write the questions that are not there yet, for those who read the samples."""
        known = questions(self.folder)
        with (self.folder / _PROBLEMS).open("a+b") as file:
            _cut_torn_line(file)
            for problem in problems:
                if (benchmark, problem.id) not in known:
                    _write(file, {"benchmark": benchmark, "problem_id": problem.id, "problem": problem.text})

    def add(self, sample: GradedSample) -> None:
        """Write a sample that ended.

        Raises:
            ValueError: there is one of its key.
        """
        if sample.key in self.done:
            raise ValueError(f"the sample {sample.key} is there")
        _write(self._samples, asdict(sample))
        self.done[sample.key] = sample.correct

    def add_failure(self, key: Key, reason: str) -> None:
        """Write that a sample failed by a fault of ours."""
        _write(
            self._failures,
            dict(zip(("configuration", "benchmark", "problem_id", "sample"), key, strict=True)) | {"reason": reason},
        )

    def close(self) -> None:
        """Let another process go on."""
        self._samples.close()
        self._failures.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(folder: Path) -> Iterator[GradedSample]:
    """Yield the samples in `folder`, in the order in which they ended. A torn last line is left out.

    Raises:
        InvalidRequest: there is no evaluation, or a line of it is damaged.
    """
    settings(folder)
    names = [field.name for field in fields(GradedSample)]
    with (folder / _SAMPLES).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                values = json.loads(line)
                yield GradedSample(**{name: values[name] for name in names})
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidRequest(f"{folder / _SAMPLES}, line {number}, is no sample: {error!r}") from None


def done(folder: Path, settings: dict[str, Any]) -> set[Key]:
    """Return the keys of the samples in `folder`; none where nothing was begun.

    Raises:
        InvalidRequest: it was begun with other settings, or is damaged.
    """
    if not (folder / _SETTINGS).exists():
        return set()
    _check(folder, settings)
    return {sample.key for sample in read(folder)}


def questions(folder: Path) -> dict[tuple[str, str], str]:
    """Return the questions in `folder` by benchmark and id."""
    place = folder / _PROBLEMS
    lines = place.read_bytes().splitlines(keepends=True) if place.exists() else []
    found = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {(one["benchmark"], one["problem_id"]): one["problem"] for one in found}


def failures(folder: Path) -> Counter[Key]:
    """Return how often each sample failed by a fault of ours."""
    found: Counter[Key] = Counter()
    with suppress(FileNotFoundError), (folder / _FAILURES).open("rb") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):  # torn, when the process was killed
                values = json.loads(line)
                found[values["configuration"], values["benchmark"], values["problem_id"], values["sample"]] += 1
    return found


def settings(folder: Path) -> dict[str, Any]:
    """Return how the samples in `folder` are drawn.

    Raises:
        InvalidRequest: there is no evaluation, or its settings are damaged.
    """
    try:
        found = json.loads((folder / _SETTINGS).read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"no evaluation in {folder}: cannot read {_SETTINGS} ({error})") from None
    if not isinstance(found, dict):
        raise InvalidRequest(f"no evaluation in {folder}: {_SETTINGS} is no object")
    return found


def _check(folder: Path, wanted: dict[str, Any]) -> None:
    kept = settings(folder)
    changed = sorted(key for key in wanted.keys() | kept.keys() if wanted.get(key) != kept.get(key))
    if changed:
        told = ", ".join(f"{key} {kept.get(key)!r}, not {wanted.get(key)!r}" for key in changed)
        raise InvalidRequest(f"{folder} is another evaluation: it has {told}; give another folder")


def _write(file: IO[bytes], values: dict[str, Any]) -> None:
    # In one call, so that lines of what was killed are whole but for the last.
    os.write(file.fileno(), json.dumps(values, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def _cut_torn_line(file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    end = size
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        file.truncate(end)
