"""Options and their checks that several commands share."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from deepmath.dialects import DIALECTS
from deepmath.errors import InvalidRequest
from deepmath.user_files import expand_home, user_path

PATH: dict[str, Any] = {"parser": user_path, "metavar": "PATH"}
"""Options of every argument and option that is a path: `~` is expanded however the shell passes it."""

STARTING_STACK = "starting the local stack; loading a model takes half a minute or more"
"""Notice on stderr, before the wait."""


class SolveMode(StrEnum):
    """With Python (the agent loop) or without (one plain completion)."""

    AGENT = "agent"
    PLAIN = "plain"


Mode = Annotated[SolveMode, typer.Option(help="Solve with Python (agent) or without (plain).")]
Generator = Annotated[str | None, typer.Option(help="Generator address. Default: the detached stack, or start one.")]
Executor = Annotated[str | None, typer.Option(help="Executor address for a generator that is started here.")]
SnippetExecutor = Annotated[str | None, typer.Option(help="Executor address. Default: the detached one, or start one.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Model directory or hub name. Default: the embedded tiny-math.", parser=expand_home, metavar="MODEL"
    ),
]
Adapter = Annotated[
    str | None, typer.Option(help="Directory of a LoRA adapter.", parser=expand_home, metavar="DIRECTORY")
]
Prompt = Annotated[
    str | None, typer.Option(help="Prompt template: a name or a file.", parser=expand_home, metavar="NAME|FILE")
]
Dialect = Annotated[
    str | None,
    typer.Option(
        help=f"How the model writes calls: {', '.join(DIALECTS)}, or one of another package. "
        "Default: by the prompt template or the model.",
        metavar="NAME",
    ),
]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Token budget per sample, tool output included.")]
MaxSteps = Annotated[int | None, typer.Option(min=1, help="Step budget per sample.")]

TEMPERATURE_HELP = "Sampling temperature; 0 is greedy."
TOP_P_HELP = "Nucleus sampling probability; 1 disables it."
TOP_K_HELP = "Number of most likely tokens to sample from; 0 disables it."


def check_generator_options(generator: str | None, *options: str | None) -> None:
    """Check that options of a generator started here are not combined with the address of a running one.

    Raises:
        InvalidRequest: `generator` is given together with one of `options`.
    """
    if generator and any(options):
        raise InvalidRequest(
            "--model, --adapter, --prompt, --dialect and --executor apply to a generator that is started here; "
            "leave out --generator"
        )
