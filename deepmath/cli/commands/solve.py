"""`deepmath solve`: questions in, boxed answers out, with the trace on screen while it happens."""

import asyncio
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepmath.cli.generator_connection import reach
from deepmath.cli.shared_options import Adapter, Model, refuse_beside_generator

if TYPE_CHECKING:
    from rich.console import Console

    from deepmath.cli.question_file import Question
    from deepmath.cli.solve_result import SolveResult
    from deepmath.clients import GeneratorClient
    from deepmath.generator.v1 import generator_pb2 as pb


class Mode(StrEnum):
    """With Python or without."""

    AGENT = "agent"
    PLAIN = "plain"


def solve(
    question: Annotated[str | None, typer.Argument(help="The question.", show_default=False)] = None,
    file: Annotated[str | None, typer.Option(help="JSON lines with `problem` (and `answer`), or - for stdin.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=1024, help="Independent samples; their majority answers.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One object per question and line.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="With --file, show each trace when it ends.")] = False,
    mode: Annotated[Mode, typer.Option(help="With Python or without.")] = Mode.AGENT,
    generator: Annotated[str | None, typer.Option(help="Address of a generator. Default: one is started.")] = None,
    executor: Annotated[str | None, typer.Option(help="Address of the executors for a generator started here.")] = None,
    model: Model = None,
    adapter: Adapter = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt template: a name or a file.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="0 is greedy.")] = None,
    top_p: Annotated[float | None, typer.Option(min=0, max=1, help="Nucleus; 1 is off.")] = None,
    top_k: Annotated[int | None, typer.Option(min=0, help="0 is off.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Makes draws repeatable.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Budget of a sample, tool output included.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Budget of a sample in steps.")] = None,
    snippet_seconds: Annotated[float | None, typer.Option(min=0.001, help="Budget of one snippet.")] = None,
    wall_seconds: Annotated[float | None, typer.Option(min=0.001, help="Budget of a sample.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="With --file, questions in flight at once.")] = 64,
) -> None:
    """Solve one question, or a file of them. Exit status 1 if any could not be worked on."""
    from deepmath.cli.question_file import read
    from deepmath.errors import InvalidRequest
    from deepmath.generator.v1 import generator_pb2 as pb
    from deepmath.local_stack.stack import generator_options

    if (question is None) == (file is None):
        raise InvalidRequest("give one QUESTION, or --file FILE")
    refuse_beside_generator(generator, model, adapter, executor, prompt)
    questions = read(file) if file else [_checked(question or "")]
    options: dict[str, Any] = {
        "samples": samples,
        "mode": pb.MODE_PLAIN if mode is Mode.PLAIN else pb.MODE_AGENT,
        "sampling": pb.Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed),
        "budget": pb.Budget(
            max_tokens=max_tokens,
            max_steps=max_steps,
            snippet_ms=_milliseconds(snippet_seconds),
            wall_ms=_milliseconds(wall_seconds),
        ),
    }
    served, arguments = generator_options(model, adapter, prompt)

    async def run() -> "list[SolveResult]":
        async with reach(generator, executor, served, arguments, quiet=as_json) as client:
            if file is None:
                return [await _solve_live(client, questions[0], options, as_json)]
            return await _solve_all(client, questions, options, concurrency, as_json, trace)

    solved = asyncio.run(run())
    raise typer.Exit(1 if any(one.failed for one in solved) else 0)


def _checked(question: str) -> "Question":
    from deepmath.cli.question_file import Question
    from deepmath.errors import InvalidRequest

    if not question.strip():
        raise InvalidRequest("the question is empty; write the problem to solve")
    return Question(question)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(1000 * seconds))


async def _solve_live(
    client: "GeneratorClient", question: "Question", options: dict[str, Any], as_json: bool
) -> "SolveResult":
    """Solve one question with its trace on screen. Errors are raised: there is nothing else to save."""
    from rich.console import Console

    from deepmath.cli.live_trace import LiveTrace, show_whole
    from deepmath.cli.solve_result import SolveResult, as_object

    console = Console()
    solved, live = SolveResult(question), LiveTrace(console)
    alone = options["samples"] == 1
    async for event in client.solve(question.text, **options):
        _collect(solved, event)
        if as_json:
            continue
        if alone:
            live.show(event)
        elif event.WhichOneof("event") == "trajectory":  # several at once cannot be shown word by word
            console.rule(f"sample {event.sample}", align="left")
            show_whole(console, event.trajectory)
    if as_json:
        print(json.dumps(as_object(solved), ensure_ascii=False))
    elif not alone:
        _show_vote(console, solved)
    return solved


async def _solve_all(
    client: "GeneratorClient",
    questions: "list[Question]",
    options: dict[str, Any],
    concurrency: int,
    as_json: bool,
    trace: bool,
) -> "list[SolveResult]":
    """Solve many questions at once. What goes wrong with one is told there and costs the others nothing."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from deepmath.cli.live_trace import show_whole
    from deepmath.cli.solve_result import as_object
    from deepmath.cli.solve_table import show_table

    free = asyncio.Semaphore(concurrency)
    console = Console(stderr=as_json)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("solving", total=len(questions), note="")

        async def one(question: "Question") -> "SolveResult":
            async with free:
                solved = await _solve_quietly(client, question, options)
            if as_json:
                print(json.dumps(as_object(solved), ensure_ascii=False), flush=True)
            elif trace:
                bar.console.rule(question.text[:100] or "?", align="left")
                for trajectory in solved.trajectories:
                    show_whole(bar.console, trajectory)
            if solved.error:
                bar.console.print(f"[red]{solved.error}[/]", highlight=False)
            bar.advance(task)
            return solved

        solved = await asyncio.gather(*map(one, questions))
    if not as_json:
        show_table(console, solved)
    return solved


async def _solve_quietly(client: "GeneratorClient", question: "Question", options: dict[str, Any]) -> "SolveResult":
    from deepmath.cli.solve_result import SolveResult
    from deepmath.errors import DeepMathError

    solved = SolveResult(question, error=question.error)
    if solved.error:
        return solved
    try:
        async for event in client.solve(question.text, **options):
            _collect(solved, event)
    except DeepMathError as error:
        solved.error = f"{question.id or question.text[:60]!r}: {error}"
    return solved


def _collect(solved: "SolveResult", event: "pb.SolveResponse") -> None:
    match event.WhichOneof("event"):
        case "trajectory":
            solved.trajectories.append(event.trajectory)
        case "vote":
            solved.vote = event.vote


def _show_vote(console: "Console", solved: "SolveResult") -> None:
    counts = solved.vote.counts if solved.vote else []
    votes = ", ".join(f"{count.answer} ({count.votes})" for count in counts)
    console.rule("majority", align="left")
    console.print(f"{solved.answer or 'no answer'}   votes: {votes or 'none'}", markup=False, highlight=False)
