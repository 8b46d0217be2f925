"""`deepmath problems`: synthetic problems as JSON lines."""

from enum import StrEnum
from typing import Annotated

import typer


class Split(StrEnum):
    """The two halves of the problems."""

    TRAIN = "train"
    TEST = "test"


def problems(
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    split: Annotated[Split, typer.Option(help="They never share an instance.")] = Split.TRAIN,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same problems.")] = 0,
) -> None:
    """Print synthetic problems with exact answers, one JSON object a line: id, family, problem, answer."""
    from deepmath.data.synthetic import generate

    for problem in generate(count, split.value, seed):
        print(problem.to_json())
