"""`deepmath problems`: generated problems as JSON lines."""

from enum import StrEnum
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.data.reasoning_gym.gym_problems import gym_problems
from deepmath.data.reasoning_gym.gym_source import PREFIX, GymSource, is_gym_source
from deepmath.data.synthetic import DIFFICULTIES, EVERY_DIFFICULTY, generate
from deepmath.errors import InvalidRequest
from deepmath.printable_text import json_line, print_error

app = command_app()

_SYNTHETIC = "synthetic"


class ProblemSplit(StrEnum):
    """The two splits of generated problems."""

    TRAIN = "train"
    TEST = "test"


@app.command()
def problems(
    count: Annotated[int, typer.Option(min=1, help="Number of problems.")] = 10,
    split: Annotated[ProblemSplit, typer.Option(help="Split. The two share no instance.")] = ProblemSplit.TRAIN,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same problems.")] = 0,
    source: Annotated[
        str,
        typer.Option(
            help="synthetic, or tasks of reasoning-gym with options and weights: reasoning-gym:gcd, "
            "'reasoning-gym:chain_sum(min_terms=3)*2 + gcd', or reasoning-gym:MIX.yaml.",
            metavar="SOURCE",
        ),
    ] = _SYNTHETIC,
    difficulty: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=DIFFICULTIES,
            help=f"Difficulty of synthetic problems, from 1 to {DIFFICULTIES}. Repeatable. Default: all.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print generated problems with their answers as JSON lines. Fields: id, family, difficulty, problem, answer.

    The family of a problem of reasoning-gym is its task; its difficulty is null. Several answers may be correct; one is
    printed, or none if the task gives none.
    """
    if source == _SYNTHETIC:
        for problem in generate(count, split.value, seed, difficulty or EVERY_DIFFICULTY):
            print(problem.to_json())
        return
    if not is_gym_source(source):
        raise InvalidRequest(f"{source[:100]!r} is not a source of problems; choose synthetic or {PREFIX}TASK")
    if difficulty:
        raise InvalidRequest(
            "--difficulty applies to synthetic problems only; set the options of a task of reasoning-gym: "
            f"'{PREFIX}chain_sum(min_terms=3)'"
        )
    found = gym_problems(GymSource.parse(source), count, split.value, seed)
    for one in found:
        print(json_line(one.to_row()))
    if len(found) < count:
        print_error("deepmath", f"{source} has no more than {len(found)} different {split.value} problems")
