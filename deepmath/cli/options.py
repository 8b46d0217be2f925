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


def generator_options(model: str | None, adapter: str | None, prompt: str | None = None) -> tuple[str, list[str]]:
    """Return the model to serve and the generator's options for it."""
    from deepmath.model_files import check_adapter, check_model
    from deepmath.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS

    if adapter:  # here, and not after half a minute in the generator
        check_adapter(adapter)
    options = ["--adapter", adapter] if adapter else []
    options += ["--prompt", prompt] if prompt else []
    if model is None:
        return str(EMBEDDED_MODEL), [*options, *EMBEDDED_OPTIONS]
    check_model(model)
    return model, options
