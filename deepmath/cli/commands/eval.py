"""`deepmath eval`: samples of benchmarks, graded, in a folder that a killed evaluation goes on from."""

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deepmath.cli.commands.solve import Mode
from deepmath.cli.generator_connection import reach
from deepmath.cli.shared_options import Adapter, Model, refuse_beside_generator
from deepmath.exit_codes import EXIT_FAILURE


class TablePreset(StrEnum):
    """Configurations that belong together."""

    FOUR_WAY = "four-way"


def eval_(
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            help="math500, aime2025, hmmt-feb-2025, hle-math, openmathreasoning-tir or synthetic; NAME=FOLDER for a "
            "copy of one; a file with columns problem and answer; or a dataset's hub name. May be repeated. "
            "Default: synthetic.",
            metavar="NAME|FILE",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=1024, help="Of each problem.")] = 16,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first problems of each benchmark.")] = None,
    mode: Annotated[Mode, typer.Option(help="With Python or without.")] = Mode.AGENT,
    table: Annotated[
        TablePreset | None,
        typer.Option(help="Baseline, +GRPO, +Agent and DeepMath: with --adapter and without, both modes."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of what is evaluated. Default: its row in that table.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder; one that was begun is gone on with.", show_default="runs/eval-…")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be drawn, and end.")] = False,
    generator: Annotated[str | None, typer.Option(help="Address of a generator. Default: one is started.")] = None,
    executor: Annotated[str | None, typer.Option(help="Address of the executors for a generator started here.")] = None,
    model: Model = None,
    adapter: Adapter = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt template: a name or a file.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0.6,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Nucleus; 1 is off.")] = 0.95,
    top_k: Annotated[int, typer.Option(min=0, help="0 is off.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives other samples.")] = 0,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Budget of a sample, tool output included.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Budget of a sample in steps.")] = None,
    verify_seconds: Annotated[float, typer.Option(min=0.1, help="For the comparison of one answer.")] = 5.0,
    verify_workers: Annotated[int, typer.Option(min=1, help="Processes that compare answers.")] = 2,
) -> None:
    """Evaluate a model: draw samples of each problem, all in flight at once, and grade them.

    Each sample is written as it ends. The same command goes on with what was interrupted or killed, and tries again
    what failed; more samples, or a larger limit, may be asked for. `deepmath report FOLDER` makes tables and plots.
    """
    from deepmath.cli.commands.report import show
    from deepmath.cli.eval_progress import EvalProgress, show_plan
    from deepmath.clients.model_files import check_adapter, model_name
    from deepmath.errors import InvalidRequest
    from deepmath.evaluation.benchmark_registry import find_benchmark
    from deepmath.evaluation.evaluation_plan import (
        CONFIGURATION_NAMES,
        EvaluationConfiguration,
        EvaluationPlan,
        four_way,
    )
    from deepmath.evaluation.evaluation_report import EvaluationReport
    from deepmath.evaluation.evaluation_run import EvaluationRun
    from deepmath.evaluation.evaluation_sampler import EvaluationSampler
    from deepmath.evaluation.published_results import read_published
    from deepmath.generator.v1 import generator_pb2 as pb
    from deepmath.grading.verifier import Verifier
    from deepmath.local_stack.stack import generator_options

    refuse_beside_generator(generator, model, adapter, executor, prompt)
    if table and (name or not adapter):
        raise InvalidRequest("--table four-way compares with and without an adapter: give --adapter, and no --name")
    served, arguments = generator_options(model, None, prompt)  # it gets the adapter when its turn comes
    if adapter:
        check_adapter(adapter)
    evaluated, taught = model_name(served), bool(adapter)
    if generator:
        evaluated, taught = asyncio.run(_ask_what_it_serves(generator))
    one = EvaluationConfiguration(name or CONFIGURATION_NAMES[taught, mode.value], mode.value, bool(adapter))
    found = {one.name: one.problems(limit) for one in map(find_benchmark, benchmark or ["synthetic"])}
    wanted = EvaluationPlan(
        model=evaluated,
        problems=found,
        configurations=four_way() if table else (one,),
        samples=samples,
        sampling=pb.Sampling(temperature=temperature, top_p=top_p, top_k=top_k),
        budget=pb.Budget(max_tokens=max_tokens, max_steps=max_steps),
        adapter=Path(adapter) if adapter else None,
        prompt=prompt,
        seed=seed,
    )
    folder = output or Path("runs") / "-".join(["eval", *found, evaluated.replace("/", "-"), table or one.name])
    if plan:
        show_plan(wanted, folder)
        return

    async def draw(run: EvaluationRun, verifier: Verifier) -> int:
        async with reach(generator, executor, served, arguments) as client:
            with EvalProgress(wanted, run) as progress:
                return await EvaluationSampler(client, run, wanted, verifier, progress.show).draw()

    with EvaluationRun(folder, wanted.settings()) as run, Verifier(verify_workers, verify_seconds) as verifier:
        missing = asyncio.run(draw(run, verifier))
        if run.verdicts:
            report = EvaluationReport.of([folder], verifier, read_published())
            show([report.tables[0]], report)
            print(f"more, with plots and traces: deepmath report {folder}")
    if missing:
        print(f"{missing} samples failed by a fault of ours; the same command tries them again", file=sys.stderr)
        raise typer.Exit(EXIT_FAILURE)


async def _ask_what_it_serves(generator: str) -> tuple[str, bool]:
    """Return the name of a generator's model, and whether the model has learned something since it was loaded."""
    from deepmath.clients import GeneratorClient

    async with GeneratorClient(generator) as client:
        info = await client.get_info()
        return info.model, info.policy_version > 0
