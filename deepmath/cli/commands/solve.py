"""`deepmath solve`: questions in, boxed answers out, with a live trace."""

import asyncio
from typing import Annotated, Any

import typer

from deepmath.cli.generator_connection import connect_generator, find_generator
from deepmath.cli.lazy_group import command_app
from deepmath.cli.question_file import Question, load_questions
from deepmath.cli.question_solver import solve_all, solve_live
from deepmath.cli.result_grader import ResultGrader
from deepmath.cli.shared_options import (
    TEMPERATURE_HELP,
    TOP_K_HELP,
    TOP_P_HELP,
    Adapter,
    Dialect,
    Executor,
    Generator,
    MaxSteps,
    MaxTokens,
    Mode,
    Model,
    Prompt,
    SolveMode,
    check_generator_options,
)
from deepmath.cli.solve_result import SolveResult
from deepmath.data.question_text import question_text
from deepmath.errors import InvalidRequest
from deepmath.exit_codes import EXIT_FAILURE
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier
from deepmath.local_stack.stack import generator_options

app = command_app()

_VERIFY_WORKERS = 2
_VERIFY_SECONDS = 5.0


@app.command()
def solve(
    question: Annotated[str | None, typer.Argument(help="Question to solve.", show_default=False)] = None,
    file: Annotated[
        str | None,
        typer.Option(help="JSON lines with `problem` and optionally `answer`, which is graded, or - for stdin."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=1024, help="Samples per question; the majority answers.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per question.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="With --file: print each trace when it finishes.")] = False,
    mode: Mode = SolveMode.AGENT,
    generator: Generator = None,
    executor: Executor = None,
    model: Model = None,
    adapter: Adapter = None,
    prompt: Prompt = None,
    dialect: Dialect = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help=TEMPERATURE_HELP)] = None,
    top_p: Annotated[float | None, typer.Option(min=0, max=1, help=TOP_P_HELP)] = None,
    top_k: Annotated[int | None, typer.Option(min=0, help=TOP_K_HELP)] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Sampling seed, for repeatable samples.")] = None,
    max_tokens: MaxTokens = None,
    max_steps: MaxSteps = None,
    snippet_seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Wall-clock limit per snippet, in seconds.")
    ] = None,
    wall_seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Wall-clock budget per sample, in seconds.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="With --file: questions in flight at once.")] = 64,
) -> None:
    """Solve one question, or a file of questions. Exit status 1 if a question fails.

    In a file, answers are graded as by `deepmath grade`; an incorrect answer is no failure.
    """
    if (question is None) == (file is None):
        raise InvalidRequest("give one QUESTION, or --file FILE")
    check_generator_options(generator, model, adapter, executor, prompt, dialect)
    questions = load_questions(file) if file else [_checked_question(question or "")]
    options: dict[str, Any] = {
        "samples": samples,
        "mode": pb.MODE_PLAIN if mode is SolveMode.PLAIN else pb.MODE_AGENT,
        "sampling": pb.Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed),
        "budget": pb.Budget(
            max_tokens=max_tokens,
            max_steps=max_steps,
            snippet_ms=_milliseconds(snippet_seconds),
            wall_ms=_milliseconds(wall_seconds),
        ),
    }
    served, arguments = generator_options(model, adapter, prompt, dialect)
    generator = find_generator(generator, executor, (served, arguments), model, adapter, prompt, dialect)

    async def run() -> list[SolveResult]:
        async with connect_generator(generator, executor, served, arguments, quiet=as_json) as client:
            if file is None:
                return [await solve_live(client, questions[0], options, as_json)]
            grader = ResultGrader(verifier)
            return await solve_all(client, questions, options, concurrency, grader, as_json, trace)

    with Verifier(_VERIFY_WORKERS, _VERIFY_SECONDS) as verifier:
        results = asyncio.run(run())
    raise typer.Exit(EXIT_FAILURE if any(result.failed for result in results) else 0)


def _checked_question(text: str) -> Question:
    if not (question := question_text(text)):
        raise InvalidRequest("the question is empty; write the problem to solve")
    return Question(question)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(1000 * seconds))
