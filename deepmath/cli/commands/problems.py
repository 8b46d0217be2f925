"""`deepmath problems`: synthetic problems as JSON lines."""

from enum import StrEnum
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.data.synthetic import generate

app = command_app()


class ProblemSplit(StrEnum):
    """The two splits of the synthetic problems."""

    TRAIN = "train"
    TEST = "test"


@app.command()
def problems(
    count: Annotated[int, typer.Option(min=1, help="Number of problems.")] = 10,
    split: Annotated[ProblemSplit, typer.Option(help="Split. The two share no instance.")] = ProblemSplit.TRAIN,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same problems.")] = 0,
) -> None:
    """Print synthetic problems with exact answers as JSON lines. Fields: id, family, problem, answer."""
    for problem in generate(count, split.value, seed):
        print(problem.to_json())
