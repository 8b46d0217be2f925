"""Files of an evaluation folder, and their readers."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from deepmath.data.problem_family_columns import difficulty_of, family_of
from deepmath.errors import InvalidRequest
from deepmath.evaluation.graded_sample import GradedSample, SampleKey

_OPTIONAL = {field.name for field in fields(GradedSample) if field.default is not MISSING}
_TYPES: dict[str, Any] = {field.name: str for field in fields(GradedSample)} | {
    **{"sample": int, "model_tokens": int, "tool_tokens": int},
    **{"correct": bool | None, "seconds": int | float, "snippets": list, "score": int | float | None},
    **{"difficulty": int | None},
}

SETTINGS_FILE = "settings.json"
PROBLEMS_FILE = "problems.jsonl"
SAMPLES_FILE = "samples.jsonl"
FAILURES_FILE = "failures.jsonl"


def read_samples(folder: Path) -> Iterator[GradedSample]:
    """Yield the samples in `folder`, in order of completion. A torn last line is skipped.

    Raises:
        InvalidRequest: `folder` is not an evaluation, or one of its lines is corrupt.
    """
    read_settings(folder)
    with (folder / SAMPLES_FILE).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _parse_sample(line)
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidRequest(f"{folder / SAMPLES_FILE}, line {number}, is not a sample: {error!r}") from None


def _parse_sample(line: bytes) -> GradedSample:
    values = json.loads(line)
    sample = GradedSample(**{name: values[name] for name in _TYPES if name in values or name not in _OPTIONAL})
    for name, types in _TYPES.items():
        value = getattr(sample, name)
        if not isinstance(value, types) or (isinstance(value, bool) and name != "correct"):
            raise TypeError(f"{name} is {value!r:.60}")
    if sample.score is not None and not 0 <= sample.score <= 1:
        raise ValueError(f"score is {sample.score!r}")
    for name, read in (("family", family_of), ("difficulty", difficulty_of)):
        if read(value := getattr(sample, name)) != value:
            raise ValueError(f"{name} is {value!r:.60}")
    if not all(isinstance(snippet[name], str) for snippet in sample.snippets for name in ("code", "outcome")):
        raise TypeError("the code or the outcome of a snippet is not a text")
    return sample


def read_questions(folder: Path) -> dict[tuple[str, str], str]:
    """Return the questions in `folder` by benchmark and problem id.

    Raises:
        InvalidRequest: one of its lines is corrupt.
    """
    path = folder / PROBLEMS_FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    found = {}
    for number, line in enumerate((line for line in lines if line.endswith(b"\n")), start=1):
        try:
            one = json.loads(line)
            found[str(one["benchmark"]), str(one["problem_id"])] = str(one["problem"])
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidRequest(f"{path}, line {number}, is not a problem: {error!r}") from None
    return found


def count_failures(folder: Path) -> Counter[SampleKey]:
    """Return how many infrastructure failures each sample had."""
    found: Counter[SampleKey] = Counter()
    with suppress(FileNotFoundError), (folder / FAILURES_FILE).open("rb") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):  # a torn last line
                values = json.loads(line)
                found[SampleKey(*(values[name] for name in SampleKey._fields))] += 1
    return found


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings by which the samples in `folder` are drawn.

    Raises:
        InvalidRequest: `folder` is not an evaluation, or its settings are corrupt.
    """
    try:
        found = json.loads((folder / SETTINGS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"no evaluation in {folder}: cannot read {SETTINGS_FILE} ({error})") from None
    if not isinstance(found, dict):
        raise InvalidRequest(f"no evaluation in {folder}: {SETTINGS_FILE} is not a JSON object")
    return found


def completed_samples(folder: Path, settings: dict[str, Any]) -> set[SampleKey]:
    """Return the keys of the samples in `folder`, which may not exist yet.

    Raises:
        InvalidRequest: the folder has other settings, or is corrupt.
    """
    if not (folder / SETTINGS_FILE).exists():
        return set()
    check_settings(folder, settings)
    return {sample.key for sample in read_samples(folder)}


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Ensure that the evaluation in `folder` has these settings.

    Raises:
        InvalidRequest: it has others, or is not an evaluation.
    """
    stored = read_settings(folder)
    changed = sorted(key for key in settings.keys() | stored.keys() if settings.get(key) != stored.get(key))
    if changed:
        differences = ", ".join(f"{key} {stored.get(key)!r}, not {settings.get(key)!r}" for key in changed)
        raise InvalidRequest(f"{folder} holds another evaluation, with {differences}; choose another folder")
