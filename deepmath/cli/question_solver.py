"""Solving of one question live, or of many concurrently, with their output."""

import asyncio
import sys
from typing import Any

from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from deepmath.cli.live_trace import LiveTrace, show_trajectory
from deepmath.cli.output_streams import print_json
from deepmath.cli.question_file import Question
from deepmath.cli.result_grader import ResultGrader
from deepmath.cli.solve_result import SolveResult
from deepmath.cli.solve_table import show_table
from deepmath.cli.text_console import TextConsole, line
from deepmath.clients import GeneratorClient
from deepmath.errors import DeepMathError
from deepmath.printable_text import print_error, printable_line

_TITLE_CHARACTERS = 100  # of a question above its traces


async def solve_live(
    client: GeneratorClient, question: Question, options: dict[str, Any], as_json: bool
) -> SolveResult:
    """Solve one question and print its trace as it is written; several samples are printed as each finishes.

    Raises:
        DeepMathError: The question could not be solved.
    """
    console = TextConsole()
    single = options["samples"] == 1
    result, live = SolveResult(question), LiveTrace(console)
    if single and not as_json:
        live = LiveTrace(console, (await client.get_info()).dialect)
    async for event in client.solve(question.text, **options):
        result.add(event)
        if as_json:
            continue
        if single:
            live.show(event)
        elif event.WhichOneof("event") == "trajectory":  # the text of concurrent samples cannot be interleaved
            console.rule(line(f"sample {event.sample}"), align="left")
            show_trajectory(console, event.trajectory)
    if as_json:
        print_json(result.to_dict())
    elif not single:
        _show_vote(console, result)
    return result


async def solve_all(
    client: GeneratorClient,
    questions: list[Question],
    options: dict[str, Any],
    concurrency: int,
    grader: ResultGrader,
    as_json: bool,
    trace: bool,
) -> list[SolveResult]:
    """Solve and grade questions concurrently, with a progress bar.

    An error is printed and does not affect other questions.
    """
    slots = asyncio.Semaphore(concurrency)
    console = TextConsole(stderr=as_json)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    is_quiet = not console.is_terminal or (as_json and sys.stdout.isatty())  # no bar among the objects
    with Progress(*columns, console=console, disable=is_quiet, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("solving", total=len(questions))

        async def solve_and_show(question: Question) -> SolveResult:
            async with slots:
                result = await _solve(client, question, options)
            await grader.grade(result)
            if as_json:
                print_json(result.to_dict())
            elif trace:
                _show_traces(console, result)
            if result.error:
                console.print(line(result.error, "red"))
            bar.advance(task)
            return result

        results = await asyncio.gather(*map(solve_and_show, questions))
    if not as_json:
        _show_results(console, results)
    return results


def _show_traces(console: TextConsole, result: SolveResult) -> None:
    """Print the traces of a question. If that fails, its result and the other questions are not lost."""
    try:
        console.rule(line(result.question.text[:_TITLE_CHARACTERS] or "?"), align="left")
        for trajectory in result.trajectories:
            show_trajectory(console, trajectory)
    except Exception as error:
        print_error("deepmath", f"cannot show a trace: {error!r}")
        if isinstance(error, OSError):
            raise


def _show_results(console: TextConsole, results: list[SolveResult]) -> None:
    """Print the table of results. If that fails, print them as --json does."""
    try:
        show_table(console, results)
    except Exception as error:
        print_error("deepmath", f"cannot show the table: {error!r}; its rows as JSON:")
        if isinstance(error, OSError):
            raise
        for result in results:
            print_json(result.to_dict())


async def _solve(client: GeneratorClient, question: Question, options: dict[str, Any]) -> SolveResult:
    result = SolveResult(question, error=question.error)
    if result.error:
        return result
    try:
        async for event in client.solve(question.text, **options):
            result.add(event)
    except DeepMathError as error:
        result.error = f"{question.id or question.text[:60]!r}: {error}"
    return result


def _show_vote(console: TextConsole, result: SolveResult) -> None:
    counts = result.vote.counts if result.vote else []
    votes = ", ".join(f"{printable_line(count.answer)} ({count.votes})" for count in counts)
    console.rule(line("majority"), align="left")
    console.print(line(f"{printable_line(result.answer) or 'no answer'}   votes: {votes or 'none'}"))
    if result.vote and result.vote.exact_only:
        console.print("expressions were not compared: the generator has no sandbox for it")
