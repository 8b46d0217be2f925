"""A report as one page that needs nothing else: no network, no files beside it.

Whatever a model wrote is escaped, and the page's own policy (Content-Security-Policy) allows no script but ours.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from deepmath.evaluation import html_typesetting
from deepmath.evaluation.published_results import Published
from deepmath.evaluation.run_comparison import RunComparison
from deepmath.evaluation.text_table import TextTable
from deepmath.evaluation.trace_selection import SampleTrace

_HERE = Path(__file__).parent
_LONGEST_ANSWER = 2000  # characters


@dataclass(frozen=True)
class TraceGroup:
    """The traces that the page has of a configuration on a benchmark."""

    configuration: str
    benchmark: str
    folder: Path
    samples: int
    """That there are, in the folder."""
    traces: Sequence[SampleTrace]


def render(
    runs: Mapping[str, Mapping[str, Any]],
    tables: Sequence[TextTable],
    notes: Sequence[str],
    plots: Mapping[str, Path],
    comparisons: Sequence[RunComparison],
    published: Published,
    groups: Sequence[TraceGroup],
) -> str:
    """Return the page: settings of each run by its folder, tables, SVGs by their titles, and traces to browse."""
    script = (_HERE / "report.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template("report.html.jinja")
    return page.render(
        runs=runs,
        tables=tables,
        notes=notes,
        plots={title: _data_uri(path) for title, path in plots.items()},
        comparisons=comparisons,
        published=published,
        groups=groups,
        traces=[(group, trace) for group in groups for trace in group.traces],
        style=Markup((_HERE / "report.css").read_text() + html_typesetting.CODE_STYLE),  # noqa: S704  (ours)
        script=Markup(script),  # noqa: S704  (ours)
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "code": html_typesetting.code,
        "plain": html_typesetting.plain,
        "prose": html_typesetting.prose,
        "answer": lambda answer: html_typesetting.mathematics(answer[:_LONGEST_ANSWER]),
    }
    return environment


def _data_uri(path: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
