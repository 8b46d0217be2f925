"""`deepmath exec`: a file of cells in one sandboxed session."""

import asyncio
import re
import sys
from typing import Annotated

import typer

from deepmath.cli.generator_connection import detached_stack
from deepmath.cli.lazy_group import command_app
from deepmath.cli.output_streams import print_json, write_data
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
    executor: Annotated[
        str | None, typer.Option(help="Executor address. Default: the detached one, or start one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per cell.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random and numpy.random.")] = 0,
    wall_seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Wall-clock limit per cell, in seconds.")
    ] = None,
    memory_mib: Annotated[int | None, typer.Option(min=1, help="Memory limit of the session, in MiB.")] = None,
    stdin: Annotated[
        str, typer.Option(metavar="FILE", help="Standard input of every cell: a text file, or - for stdin.")
    ] = "",
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
    if not (executor or allow_module) and (detached := detached_stack()):
        executor = detached.executor
    stack = LocalStack(executor=executor, arguments=options)
    cells = _run_cells(_read_cells(file), stack, as_json, seed, limits, read_text(stdin) if stdin else "")
    failed = asyncio.run(cells)
    raise typer.Exit(EXIT_FAILURE if failed else 0)


def _read_cells(file: str) -> list[str]:
    first, *others = _CELL.split(read_source(file))
    return ([first] if first.strip() else []) + others or [""]


async def _run_cells(
    cells: list[str], stack: LocalStack, as_json: bool, seed: int, limits: dict[str, int], stdin: str
) -> bool:
    """Run the cells in one session, print their results, and return whether any failed."""
    failed = False
    async with (
        stack,
        ExecutorClient(stack.executor, patience_s=10, client_name="deepmath exec") as client,
        client.session(seed) as session,
    ):
        for cell in cells:
            result = await session.run(cell, pb.Limits(**limits), stdin=stdin)
            failed |= result.outcome != pb.OUTCOME_OK
            print_json(_to_dict(result)) if as_json else _show(result)
    return failed


def _to_dict(result: pb.SnippetResult) -> dict[str, object]:
    """Return a result for JSON, with the contract's field names."""
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
    }


def _show(result: pb.SnippetResult) -> None:
    value = f"{result.value}\n" if result.HasField("value") else ""
    write_data(result.stdout + value, sys.stdout)
    write_data(result.stderr, sys.stderr)
    if result.outcome != pb.OUTCOME_OK:
        lost = "; the session's variables are lost" if result.state_lost else ""
        print(f"{result.exception.traceback}[{_outcome(result)}{lost}]", file=sys.stderr)


def _outcome(result: pb.SnippetResult) -> str:
    return pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_")
