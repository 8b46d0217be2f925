"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(help="Directory or hub name of the model. Default: the embedded tiny-math.", metavar="MODEL"),
]
Adapter = Annotated[str | None, typer.Option(help="Directory of a LoRA adapter.", metavar="DIRECTORY")]


def generator_options(model: str | None, adapter: str | None, prompt: str | None = None) -> tuple[str, list[str]]:
    """Return the model to serve and the generator's options for it."""
    from deepmath.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS

    options = ["--adapter", adapter] if adapter else []
    options += ["--prompt", prompt] if prompt else []
    if model is None:
        return str(EMBEDDED_MODEL), [*options, *EMBEDDED_OPTIONS]
    if model.startswith(("/", ".", "~")) and not (Path(model) / "config.json").is_file():
        raise typer.BadParameter(f"no model at {model}: a model directory has a config.json", param_hint="--model")
    return model, options
