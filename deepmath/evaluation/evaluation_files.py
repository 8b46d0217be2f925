"""Files of an evaluation folder, and their readers."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from deepmath.errors import InvalidRequest
from deepmath.evaluation.graded_sample import GradedSample, SampleKey

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
    names = [field.name for field in fields(GradedSample)]
    optional = {field.name for field in fields(GradedSample) if field.default is not MISSING}
    with (folder / SAMPLES_FILE).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                values = json.loads(line)
                yield GradedSample(**{name: values[name] for name in names if name in values or name not in optional})
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidRequest(f"{folder / SAMPLES_FILE}, line {number}, is not a sample: {error!r}") from None


def read_questions(folder: Path) -> dict[tuple[str, str], str]:
    """Return the questions in `folder` by benchmark and problem id."""
    path = folder / PROBLEMS_FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {(one["benchmark"], one["problem_id"]): one["problem"] for one in found}


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
