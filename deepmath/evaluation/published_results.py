"""What others have published of these benchmarks: data, printed beside our own figures and marked as theirs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from deepmath.errors import InvalidRequest

PUBLISHED = Path(str(files("deepmath.evaluation") / "published.json"))
K = 16
"""Theirs are majority@16."""


@dataclass(frozen=True)
class PublishedRow:
    """One configuration on one benchmark, as far as it was published."""

    configuration: str
    benchmark: str
    majority: float | None
    """majority@16 in per cent."""
    mean_tokens: float | None


@dataclass(frozen=True)
class Published:
    """Rows of a table and claims in words, with where they stand."""

    source: str = ""
    note: str = ""
    rows: tuple[PublishedRow, ...] = ()
    claims: tuple[tuple[str, str], ...] = ()
    """Text and source."""

    def row(self, configuration: str, benchmark: str) -> PublishedRow | None:
        """Return what was published of this, if anything was."""
        return next(
            (one for one in self.rows if (one.configuration, one.benchmark) == (configuration, benchmark)), None
        )

    def of(self, benchmarks: list[str]) -> "Published":
        """Return it with the rows of these benchmarks only."""
        return Published(
            self.source, self.note, tuple(one for one in self.rows if one.benchmark in benchmarks), self.claims
        )


def read_published(file: Path = PUBLISHED) -> Published:
    """Return what `file` has, nothing where it is not there.

    Raises:
        InvalidRequest: it has another form.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return Published(
            str(values["source"]),
            str(values.get("note") or ""),
            tuple(_rows(values.get("rows") or [])),
            tuple((str(claim["text"]), str(claim["source"])) for claim in values.get("claims") or []),
        )
    except FileNotFoundError:
        return Published()
    except OSError as error:
        raise InvalidRequest(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"{file} is no list of published figures: {error!r}") from None


def _rows(rows: list[dict[str, Any]]) -> Iterator[PublishedRow]:
    for row in rows:
        yield PublishedRow(
            str(row["configuration"]), str(row["benchmark"]), _number(row["majority@16"]), _number(row["mean_tokens"])
        )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
