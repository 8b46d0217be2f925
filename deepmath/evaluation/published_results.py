"""Results that others have published on these benchmarks, printed beside the measured ones and marked as such."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from deepmath.errors import InvalidRequest
from deepmath.user_files import decode_text

PUBLISHED_FILE: Traversable = files("deepmath.evaluation") / "published.json"
"""Intel's published results of DeepMath, which are package data."""
PUBLISHED_K = 16
"""The published accuracies are majority@16."""


@dataclass(frozen=True)
class PublishedResult:
    """One configuration on one benchmark. None stands for a number that was not published."""

    configuration: str
    benchmark: str
    majority: float | None
    """majority@16 in per cent."""
    mean_tokens: float | None


@dataclass(frozen=True)
class PublishedResults:
    """Published numbers and claims, with their sources."""

    source: str = ""
    note: str = ""
    rows: tuple[PublishedResult, ...] = ()
    claims: tuple[tuple[str, str], ...] = ()
    """Text and source."""


def read_published(file: Path | Traversable = PUBLISHED_FILE) -> PublishedResults:
    """Return the results in `file`, or none if it does not exist.

    Raises:
        InvalidRequest: the file is unreadable or malformed.
    """
    try:
        values = json.loads(decode_text(file.read_bytes(), str(file)))
        return PublishedResults(
            str(values["source"]),
            str(values.get("note") or ""),
            tuple(_rows(values.get("rows") or [])),
            tuple((str(claim["text"]), str(claim["source"])) for claim in values.get("claims") or []),
        )
    except FileNotFoundError:
        return PublishedResults()
    except OSError as error:
        raise InvalidRequest(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"{file} is not a valid file of published results: {error!r}") from None


def _rows(rows: list[dict[str, Any]]) -> Iterator[PublishedResult]:
    for row in rows:
        yield PublishedResult(
            str(row["configuration"]), str(row["benchmark"]), _number(row["majority@16"]), _number(row["mean_tokens"])
        )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
