"""Tables of an evaluation report on a terminal."""

import sys
from collections.abc import Sequence

from rich.table import Table

from deepmath.cli.text_console import TextConsole, line
from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.text_table import TextTable

_PIPE_WIDTH = 240  # columns; tables in a file or a pipe are not folded


def show_tables(tables: Sequence[TextTable], report: EvaluationReport) -> None:
    """Print `tables` of `report`, the source of published rows, and the report's caveats."""
    console = TextConsole(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    for table in tables:
        if not table.folded:
            console.print(_to_rich(table))
    if any(row.published for table in tables for row in table.rows):
        console.print(line(f"published: {report.published.source}, not by us", "dim italic"))
    for note in report.notes:
        console.print(line(note, "yellow"))


def _to_rich(table: TextTable) -> Table:
    rendered = Table(title=line(table.title), title_justify="left", box=None, header_style="bold", pad_edge=False)
    for at, heading in enumerate(table.headings):
        rendered.add_column(line(heading), justify="left" if at < table.name_columns else "right")
    for row in table.rows:
        rendered.add_row(*map(line, row.cells), style="dim italic" if row.published else "")
    return rendered
