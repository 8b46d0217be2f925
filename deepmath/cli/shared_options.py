"""Options that several commands share."""

from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(help="Directory or hub name of the model. Default: the embedded tiny-math.", metavar="MODEL"),
]
Adapter = Annotated[str | None, typer.Option(help="Directory of a LoRA adapter.", metavar="DIRECTORY")]


def refuse_beside_generator(generator: str | None, *options: str | None) -> None:
    """Refuse what is for a generator that a command starts, where it is to ask one that is served.

    Raises:
        InvalidRequest: `generator` is given, and one of `options` too.
    """
    from deepmath.errors import InvalidRequest

    if generator and any(options):
        raise InvalidRequest(
            "--model, --adapter, --prompt and --executor are for a generator started here; leave out --generator"
        )
