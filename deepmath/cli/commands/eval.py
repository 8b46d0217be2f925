"""`deepmath eval`: graded samples of benchmark problems, in a folder from which an unfinished evaluation resumes."""

import asyncio
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deepmath.cli.eval_progress import EvalProgress, show_plan
from deepmath.cli.generator_connection import connect_generator, find_generator
from deepmath.cli.lazy_group import command_app
from deepmath.cli.report_view import show_tables
from deepmath.cli.shared_options import (
    PATH,
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
from deepmath.clients import GeneratorClient
from deepmath.clients.model_files import check_adapter, model_name
from deepmath.errors import InvalidRequest
from deepmath.evaluation.benchmark_registry import BENCHMARKS, find_benchmark
from deepmath.evaluation.evaluation_plan import CONFIGURATION_NAMES, EvaluationConfiguration, EvaluationPlan, four_way
from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.evaluation_run import EvaluationRun
from deepmath.evaluation.evaluation_sampler import EvaluationSampler
from deepmath.evaluation.gold_check import check_gold_answers
from deepmath.evaluation.published_results import read_published
from deepmath.exit_codes import EXIT_FAILURE
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier
from deepmath.local_stack.stack import generator_options
from deepmath.printable_text import print_error, printable_line

app = command_app()

_MOST_NAME_CHARACTERS = 200  # of the default output folder; a file system allows 255 bytes


class TablePreset(StrEnum):
    """Sets of configurations that form one table."""

    FOUR_WAY = "four-way"


@app.command("eval")
def eval_(
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(BENCHMARKS)}; NAME=FOLDER for a local copy; reasoning-gym:TASK or a mix of its tasks; a "
            "file with columns problem and answer; or a dataset on the hub. Repeatable. Default: synthetic.",
            metavar="NAME|FILE",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=1024, help="Samples per problem.")] = 16,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of problems per benchmark, from the first.")] = None,
    mode: Mode = SolveMode.AGENT,
    table: Annotated[
        TablePreset | None,
        typer.Option(help="Evaluate Baseline, +GRPO, +Agent and DeepMath: both modes, with and without --adapter."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the configuration. Default: its name in the DeepMath table.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Output folder. An unfinished evaluation with the same settings is resumed.",
            show_default="runs/eval-…",
            **PATH,
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan and exit.")] = False,
    generator: Generator = None,
    executor: Executor = None,
    model: Model = None,
    adapter: Adapter = None,
    prompt: Prompt = None,
    dialect: Dialect = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help=TEMPERATURE_HELP)] = 0.6,
    top_p: Annotated[float, typer.Option(min=0, max=1, help=TOP_P_HELP)] = 0.95,
    top_k: Annotated[int, typer.Option(min=0, help=TOP_K_HELP)] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Sampling seed.")] = 0,
    max_tokens: MaxTokens = None,
    max_steps: MaxSteps = None,
    verify_seconds: Annotated[float, typer.Option(min=0.1, help="Timeout for verifying one answer, in seconds.")] = 5.0,
    verify_workers: Annotated[int, typer.Option(min=1, help="Number of concurrent comparisons.")] = 2,
) -> None:
    """Evaluate a model on benchmarks. Samples of all problems are drawn concurrently and graded.

    Each sample is written when it finishes. The same command resumes an interrupted evaluation and retries failed
    samples; --samples and --limit may be raised. `deepmath report FOLDER` makes tables and plots.
    """
    check_generator_options(generator, model, adapter, executor, prompt, dialect)
    if table and (name or not adapter):
        raise InvalidRequest("--table four-way compares with and without an adapter: give --adapter, and no --name")
    served, arguments = generator_options(model, None, prompt, dialect)  # the sampler uploads the adapter itself
    if adapter:
        check_adapter(adapter)
    else:  # not on the detached stack, whose other callers would get the adapter
        generator = find_generator(generator, executor, (served, arguments), model, prompt, dialect)
    evaluated, is_tuned = model_name(served), bool(adapter)
    if generator:
        evaluated, is_tuned = asyncio.run(_served_model(generator))
    single = EvaluationConfiguration(name or CONFIGURATION_NAMES[is_tuned, mode.value], mode.value, bool(adapter))
    benchmarks = map(find_benchmark, benchmark or ["synthetic"])
    evaluation = EvaluationPlan(
        model=evaluated,
        problems={found.name: found.problems(limit) for found in benchmarks},
        configurations=four_way() if table else (single,),
        samples=samples,
        sampling=pb.Sampling(temperature=temperature, top_p=top_p, top_k=top_k),
        budget=pb.Budget(max_tokens=max_tokens, max_steps=max_steps),
        adapter=Path(adapter) if adapter else None,
        prompt=prompt,
        dialect=dialect,
        seed=seed,
    )
    parts = ["eval", *evaluation.problems, evaluated.replace("/", "-"), table or single.name]
    folder = output or Path("runs") / re.sub(r"[^\w.@+-]+", "-", "-".join(parts))[:_MOST_NAME_CHARACTERS]
    if plan:
        show_plan(evaluation, folder)
        return

    async def draw(run: EvaluationRun, verifier: Verifier) -> int:
        async with connect_generator(generator, executor, served, arguments) as client:
            run.check_dialect((await client.get_info()).dialect)
            with EvalProgress(evaluation, run) as progress:
                return await EvaluationSampler(client, run, evaluation, verifier, progress.show).draw()

    grading = Verifier(verify_workers, verify_seconds, tasks=evaluation.gym_tasks)
    with grading as verifier, EvaluationRun(folder, evaluation.settings()) as run:
        verifier.start()  # refuses now, and not after hours of sampling
        for warning in check_gold_answers(evaluation.problems, verifier):
            print_error("deepmath", warning)
        missing = asyncio.run(draw(run, verifier))
        if run.verdicts:
            report = EvaluationReport.of([folder], verifier, read_published())
            show_tables([report.tables[0]], report)
            print(f"for plots and traces: deepmath report {printable_line(folder)}")
    if missing:
        print(f"{missing} samples lost to infrastructure failures; run the same command to retry", file=sys.stderr)
        raise typer.Exit(EXIT_FAILURE)


async def _served_model(generator: str) -> tuple[str, bool]:
    """Return the name of a generator's model, and whether it serves an adapter."""
    async with GeneratorClient(generator) as client:
        info = await client.get_info()
        return info.model, info.policy_version > 0
