"""`deepmath exec`: a file of cells in one sandboxed session."""

import asyncio
import re
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer

from deepmath.cli.figure_folder import FigureFolder
from deepmath.cli.generator_connection import detached_stack
from deepmath.cli.lazy_group import command_app
from deepmath.cli.output_streams import print_json, write_data
from deepmath.cli.shared_options import PATH, SnippetExecutor
from deepmath.clients import ExecutorClient
from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.exit_codes import EXIT_FAILURE
from deepmath.local_stack.stack import LocalStack
from deepmath.user_files import STDIN, read_source, read_text

app = command_app()

_CELL = re.compile(r"^# %%.*$\n?", re.MULTILINE)


@app.command("exec")
def exec_(
    file: Annotated[str, typer.Argument(help="Python file, or - for stdin. Lines that start with `# %%` split cells.")],
    executor: SnippetExecutor = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per cell.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random and numpy.random.")] = 0,
    wall_seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Wall-clock limit per cell, in seconds.")
    ] = None,
    memory_mib: Annotated[int | None, typer.Option(min=1, help="Memory limit of the session, in MiB.")] = None,
    stdin: Annotated[
        str, typer.Option(metavar="FILE", help="Standard input of every cell: a text file, or - for stdin.")
    ] = "",
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the figures that cells draw with matplotlib, as PNG files. An --executor needs --preload "
            "plots.",
            **PATH,
        ),
    ] = None,
    allow_module: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Let cells import this module too. Repeat for more. Not with --executor."),
    ] = None,
) -> None:
    """Run Python in the sandbox. Cells of a file share variables. Exit status 1 if a cell fails."""
    if file == stdin == STDIN:
        raise InvalidRequest("the cells and --stdin cannot both be read from the standard input; give a file for one")
    if executor and allow_module:
        raise InvalidRequest("--allow-module is an option of the executor; give it to the one that runs there")
    limits = {"wall_ms": int(1000 * (wall_seconds or 0)), "memory_bytes": (memory_mib or 0) << 20}
    options = {"executor": [f"--allow-module={name}" for name in allow_module or ()]}
    if figures:
        options["executor"].append("--preload=plots")
    if not (executor or allow_module or figures) and (detached := detached_stack()):
        executor = detached.executor
    stack = LocalStack(executor=executor, arguments=options)
    printer = _ResultPrinter(as_json, FigureFolder(figures) if figures else None)
    cells = _run_cells(_read_cells(file), stack, printer, seed, limits, read_text(stdin) if stdin else "")
    failed = asyncio.run(cells)
    raise typer.Exit(EXIT_FAILURE if failed else 0)


def _read_cells(file: str) -> list[str]:
    first, *others = _CELL.split(read_source(file))
    return ([first] if first.strip() else []) + others or [""]


async def _run_cells(
    cells: list[str], stack: LocalStack, printer: "_ResultPrinter", seed: int, limits: dict[str, int], stdin: str
) -> bool:
    """Run the cells in one session, print their results, and return whether any failed."""
    failed = False
    async with (
        stack,
        ExecutorClient(stack.executor, patience_s=10, client_name="deepmath exec") as client,
        client.session(seed) as session,
    ):
        for cell in cells:
            result = await session.run(cell, pb.Limits(**limits), stdin=stdin, on_output=printer.on_output)
            failed |= result.outcome != pb.OUTCOME_OK
            printer.print(result)
    return failed


class _ResultPrinter:
    """Prints results, and writes their figures to the folder `figures` if there is one."""

    def __init__(self, as_json: bool, figures: FigureFolder | None) -> None:
        self._as_json = as_json
        self._figures = figures
        self.on_output = None if as_json else _write_output
        """Prints the output of a cell while it runs; None if it is printed with the result."""

    def print(self, result: pb.SnippetResult) -> None:
        files = self._figures.write(result) if self._figures else []
        print_json(_to_dict(result, files)) if self._as_json else _show(result, files)


def _to_dict(result: pb.SnippetResult, files: list[Path]) -> dict[str, object]:
    """Return a result and the files of its figures for JSON, with the contract's field names."""
    exception, usage, dropped = result.exception, result.usage, result.dropped_bytes
    return {
        "outcome": _outcome(result),
        "stdout": result.stdout,
        "stderr": result.stderr,
        "value": result.value if result.HasField("value") else None,
        "exception": {"type": exception.type, "message": exception.message} if result.HasField("exception") else None,
        "state_lost": result.state_lost,
        "queue_ms": round(usage.queue_ms, 3),
        "wall_ms": round(usage.wall_ms, 3),
        "cpu_ms": round(usage.cpu_ms, 3),
        "peak_memory_bytes": usage.peak_memory_bytes,
        "dropped_bytes": {"stdout": dropped.stdout, "stderr": dropped.stderr, "value": dropped.value},
        "rich_outputs": [
            {"mime_type": output.mime_type, "bytes": len(output.data), "file": str(file) if file else None}
            for output, file in zip_longest(result.rich_outputs, files)
        ],
        "dropped_rich_outputs": result.dropped_rich_outputs,
    }


def _write_output(name: str, text: str) -> None:
    stream = sys.stdout if name == "stdout" else sys.stderr
    write_data(text, stream)


def _show(result: pb.SnippetResult, files: list[Path]) -> None:
    """Print what a result adds to its output."""
    if result.HasField("value"):
        write_data(f"{result.value}\n", sys.stdout)
    for file in files:
        print(f"[{file}]", file=sys.stderr)
    if unseen := len(result.rich_outputs) + result.dropped_rich_outputs - len(files):
        reason = "over the executor's limits" if files else "--figures FOLDER writes them to files"
        print(f"[{unseen} {'figures' if unseen > 1 else 'figure'} not shown: {reason}]", file=sys.stderr)
    if result.outcome != pb.OUTCOME_OK:
        lost = "; the session's variables are lost" if result.state_lost else ""
        print(f"{result.exception.traceback}[{_outcome(result)}{lost}]", file=sys.stderr)


def _outcome(result: pb.SnippetResult) -> str:
    return pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_")
