"""Solving of one question live, or of many concurrently, with their output."""

import asyncio
import json
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deepmath.cli.live_trace import LiveTrace, show_trajectory
from deepmath.cli.question_file import Question
from deepmath.cli.result_grader import ResultGrader
from deepmath.cli.solve_result import SolveResult
from deepmath.cli.solve_table import show_table
from deepmath.clients import GeneratorClient
from deepmath.errors import DeepMathError


async def solve_live(
    client: GeneratorClient, question: Question, options: dict[str, Any], as_json: bool
) -> SolveResult:
    """Solve one question and print its trace as it is written; several samples are printed as each finishes.

    Raises:
        DeepMathError: The question could not be solved.
    """
    console = Console()
    result, live = SolveResult(question), LiveTrace(console)
    single = options["samples"] == 1
    async for event in client.solve(question.text, **options):
        result.add(event)
        if as_json:
            continue
        if single:
            live.show(event)
        elif event.WhichOneof("event") == "trajectory":  # the text of concurrent samples cannot be interleaved
            console.rule(f"sample {event.sample}", align="left")
            show_trajectory(console, event.trajectory)
    if as_json:
        _print_json(result)
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
    console = Console(stderr=as_json)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("solving", total=len(questions), note="")

        async def solve_and_show(question: Question) -> SolveResult:
            async with slots:
                result = await _solve(client, question, options)
            await grader.grade(result)
            if as_json:
                _print_json(result)
            elif trace:
                bar.console.rule(question.text[:100] or "?", align="left")
                for trajectory in result.trajectories:
                    show_trajectory(bar.console, trajectory)
            if result.error:
                bar.console.print(f"[red]{result.error}[/]", highlight=False)
            bar.advance(task)
            return result

        results = await asyncio.gather(*map(solve_and_show, questions))
    if not as_json:
        show_table(console, results)
    return results


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


def _print_json(result: SolveResult) -> None:
    print(json.dumps(result.to_dict(), ensure_ascii=False), flush=True)


def _show_vote(console: Console, result: SolveResult) -> None:
    counts = result.vote.counts if result.vote else []
    votes = ", ".join(f"{count.answer} ({count.votes})" for count in counts)
    console.rule("majority", align="left")
    console.print(f"{result.answer or 'no answer'}   votes: {votes or 'none'}", markup=False, highlight=False)
    if result.vote and result.vote.exact_only:
        console.print("expressions were not compared: the generator has no sandbox for it", highlight=False)
