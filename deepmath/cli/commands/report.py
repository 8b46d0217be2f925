"""`deepmath report`: what evaluations came to, as tables, plots and a page with traces."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from deepmath.evaluation.evaluation_report import EvaluationReport
    from deepmath.evaluation.text_table import TextTable

_LIBRARIES = ("jinja2", "latex2mathml", "matplotlib", "pygments")
_WORKERS = 2
_VERIFY_S = 3.0
_NO_TERMINAL_COLUMNS = 240  # in a file or a pipe no table is folded


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of evaluations.", metavar="RUN...")],
    output: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="report in the first RUN")
    ] = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="Samples of a problem that vote.", show_default="as many as there are")
    ] = None,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(help="Two configurations, or two of the RUNs.", metavar="FIRST SECOND")
    ] = None,
    traces: Annotated[
        int, typer.Option(min=0, help="Samples on the page, of each configuration and benchmark, at most.")
    ] = 20,
    published: Annotated[
        Path | None, typer.Option(help="Figures of others, to print beside ours.", show_default="the seeds'")
    ] = None,
) -> None:
    """Report what evaluations came to: the seeds' table, figures with intervals, plots, and a page with traces.

    Written are table.md, table.csv, curves.csv, report.html and plots as PNG and SVG. --compare adds the problems that
    one of two wins or loses against the other, and McNemar's test of whether that may be chance.
    """
    from deepmath.errors import InvalidRequest

    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise InvalidRequest(f"report needs {', '.join(missing)}: install the extra `evaluation`")
    from deepmath.evaluation.evaluation_report import EvaluationReport
    from deepmath.evaluation.published_results import PUBLISHED_FILE, read_published
    from deepmath.grading.verifier import Verifier

    if published and not published.exists():
        raise InvalidRequest(f"there is no {published}")
    theirs = read_published(published or PUBLISHED_FILE)
    with Verifier(_WORKERS, _VERIFY_S) as verifier:
        found = EvaluationReport.of(runs, verifier, theirs, k, compare)
    folder = output or runs[0] / "report"
    found.write(folder, traces)
    show(found.tables, found)
    print(f"written to {folder}: table.md, table.csv, curves.csv, report.html, plots")


def show(tables: "Sequence[TextTable]", found: "EvaluationReport") -> None:
    """Print tables of a report, and what has to be known of them."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _NO_TERMINAL_COLUMNS, highlight=False)
    for table in tables:
        console.print(_table(table))
    if any(row.published for table in tables for row in table.rows):
        console.print(f"published: {found.published.source}, not by us", style="dim italic", markup=False)
    for note in found.notes:
        console.print(note, style="yellow", markup=False)


def _table(table: "TextTable") -> "Table":
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=table.title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for at, heading in enumerate(table.headings):
        shown.add_column(Text(heading), justify="left" if at < table.name_columns else "right")
    for row in table.rows:
        shown.add_row(*map(Text, row.cells), style="dim italic" if row.published else "")
    return shown
