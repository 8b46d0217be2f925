"""Terminal output of an evaluation: its plan, and progress bars while it runs."""

from collections import Counter
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deepmath.cli.text_console import TextConsole, line
from deepmath.evaluation.evaluation_files import completed_samples
from deepmath.evaluation.evaluation_plan import EvaluationPlan
from deepmath.evaluation.evaluation_run import EvaluationRun
from deepmath.evaluation.graded_sample import GradedSample
from deepmath.printable_text import printable_line

_MAX_NAME_CHARACTERS = 60  # beside a progress bar

Row = tuple[str, str]  # configuration and benchmark


class EvalProgress:
    """A bar per configuration and benchmark, with accuracy, rate and time left. Shown on a terminal only."""

    def __init__(self, plan: EvaluationPlan, run: EvaluationRun) -> None:
        console = TextConsole(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[accuracy]}", markup=False),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
        )
        self._progress = Progress(
            *columns, console=console, disable=not console.is_terminal, redirect_stdout=False, redirect_stderr=False
        )
        self._correct: Counter[Row] = Counter()
        self._graded: Counter[Row] = Counter()
        for (configuration, benchmark, *_), correct in run.verdicts.items():
            self._count((configuration, benchmark), correct)
        self._bars = {
            (configuration.name, benchmark): self._progress.add_task(
                printable_line(f"{configuration.name} {benchmark}", _MAX_NAME_CHARACTERS),
                total=plan.samples * len(problems),
                completed=sum(key in run.verdicts for key, _ in plan.keys(configuration, benchmark)),
                accuracy="",
                rate="",
            )
            for configuration in plan.configurations
            for benchmark, problems in plan.problems.items()
        }

    def show(self, sample: GradedSample) -> None:
        """Advance the bar of a finished sample."""
        row = sample.configuration, sample.benchmark
        self._count(row, sample.correct)
        bar = self._bars[row]
        speed = self._progress.tasks[bar].speed
        accuracy = f"accuracy {self._correct[row] / self._graded[row]:.1%}" if self._graded[row] else ""
        self._progress.update(bar, advance=1, accuracy=accuracy, rate=f"{speed:.1f}/s" if speed else "")

    def _count(self, row: Row, correct: bool | None) -> None:
        self._correct[row] += correct is True
        self._graded[row] += correct is not None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def show_plan(plan: EvaluationPlan, folder: Path) -> None:
    """Print the number of samples to draw into `folder`, per configuration and benchmark.

    Raises:
        InvalidRequest: `folder` holds another evaluation.
    """
    completed = completed_samples(folder, plan.settings())
    table = Table("configuration", "mode", "adapter", "benchmark", box=None, header_style="bold", pad_edge=False)
    for heading in ("problems", "samples", "completed", "to draw"):
        table.add_column(heading, justify="right")
    for configuration in plan.configurations:
        for benchmark, problems in plan.problems.items():
            keys = [key for key, _ in plan.keys(configuration, benchmark)]
            found = sum(key in completed for key in keys)
            adapter = str(plan.adapter) if configuration.adapter else "none"
            counts = (len(problems), plan.samples, found, len(keys) - found)
            table.add_row(*map(line, (configuration.name, configuration.mode, adapter, benchmark, *counts)))
    console = TextConsole()
    console.print(table)
    settings = plan.settings()
    limits = [f"{name} {value}" for name, value in (settings["sampling"] | settings["budget"]).items()]
    console.print(line(f"model {plan.model}, {', '.join(limits)}, seed {plan.seed}; into {folder}"))
