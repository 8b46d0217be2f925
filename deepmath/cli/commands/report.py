"""`deepmath report`: evaluations as tables, plots and a page with traces."""

from pathlib import Path
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.cli.report_view import show_tables
from deepmath.cli.shared_options import PATH
from deepmath.errors import InvalidRequest
from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.published_results import PUBLISHED_FILE, read_published
from deepmath.grading.verifier import Verifier
from deepmath.printable_text import printable_line

app = command_app()

_WORKERS = 2
_VERIFY_S = 3.0


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of evaluations.", **PATH | {"metavar": "RUN"})],
    output: Annotated[
        Path | None, typer.Option(help="Output folder.", show_default="report in the first RUN", **PATH)
    ] = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="Samples per problem in a majority vote.", show_default="all samples")
    ] = None,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(help="Two configurations, or two of the RUNs.", metavar="FIRST SECOND")
    ] = None,
    traces: Annotated[
        int, typer.Option(min=0, help="Maximum number of traces per configuration and benchmark on the page.")
    ] = 20,
    published: Annotated[
        Path | None,
        typer.Option(help="JSON file with published results.", show_default="the DeepMath model card's", **PATH),
    ] = None,
) -> None:
    """Report evaluations as tables, plots and an HTML page.

    Writes table.md, table.csv, curves.csv, report.html (with traces), and plots as PNG and SVG. The main table is the
    DeepMath model card's; figures have confidence intervals. --compare adds the problems on which one side beats the
    other, and McNemar's test.
    """
    if published and not published.exists():
        raise InvalidRequest(f"there is no {published}")
    with Verifier(_WORKERS, _VERIFY_S) as verifier:
        made = EvaluationReport.of(runs, verifier, read_published(published or PUBLISHED_FILE), k, compare)
    folder = output or runs[0] / "report"
    made.write(folder, traces)
    show_tables(made.tables, made)
    print(f"written to {printable_line(folder)}: table.md, table.csv, curves.csv, report.html, plots")
