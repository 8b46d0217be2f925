"""A report as one self-contained HTML page: no network access, no other files.

Model-written text is escaped, and the page's Content-Security-Policy allows only the page's own script.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Undefined
from markupsafe import Markup

from deepmath.evaluation import html_typesetting
from deepmath.evaluation.published_results import PublishedResults
from deepmath.evaluation.run_comparison import RunComparison
from deepmath.evaluation.text_table import TextTable
from deepmath.evaluation.trace_selection import VERDICTS, SampleTrace
from deepmath.printable_text import printable

_RESOURCES = files("deepmath.evaluation")
_MAX_ANSWER_CHARACTERS = 2000
_LEADING = ("accuracy", "difficulty")


@dataclass(frozen=True)
class TraceGroup:
    """The traces of one configuration on one benchmark that the page includes."""

    configuration: str
    benchmark: str
    folder: Path
    samples: int
    """The number of samples in the folder."""
    traces: Sequence[SampleTrace]


def render(
    runs: Mapping[str, Mapping[str, Any]],
    tables: Sequence[TextTable],
    notes: Sequence[str],
    plots: Mapping[str, Path],
    comparisons: Sequence[RunComparison],
    published: PublishedResults,
    groups: Sequence[TraceGroup],
) -> str:
    """Return the page with the settings of each run by folder, tables, SVG plots by title, and traces to browse."""
    script = _resource("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().from_string(_resource("report.html.jinja"))
    first = leading(plots)
    return page.render(
        runs=runs,
        tables=tables,
        notes=notes,
        leading={title: _data_uri(path) for title, path in first.items()},
        plots={title: _data_uri(path) for title, path in plots.items() if title not in first},
        comparisons=comparisons,
        published=published,
        groups=groups,
        traces=[(group, trace) for group in groups for trace in group.traces],
        verdicts=VERDICTS,
        style=Markup(_resource("report.css") + html_typesetting.CODE_STYLE),  # noqa: S704  (trusted)
        script=Markup(script),  # noqa: S704  (trusted)
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )


def leading(plots: Mapping[str, Path]) -> dict[str, Path]:
    """Return the plots that belong to the main results: they are shown first."""
    return {title: path for title, path in plots.items() if path.stem in _LEADING}


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalize
    )
    environment.filters |= {
        "code": html_typesetting.code,
        "plain": html_typesetting.plain,
        "prose": html_typesetting.prose,
        "answer": lambda answer: html_typesetting.mathematics(answer[:_MAX_ANSWER_CHARACTERS]),
    }
    return environment


def _finalize(value: object) -> object:
    """Return what an expression of the template inserts: trusted HTML as it is, all else as printable text."""
    return value if isinstance(value, Markup | Undefined) else printable(str(value))


def _resource(name: str) -> str:
    return (_RESOURCES / name).read_text(encoding="utf-8")


def _data_uri(path: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
