"""A Typer group that imports a command's module only when that command runs or prints its help.

After the `LazyGroup` of Click's documentation ("Lazily Loading Subcommands",
https://click.palletsprojects.com/en/stable/complex/). The group itself holds placeholders with a name and a summary:
enough for the list of commands, for completion and for suggestions.
"""

from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from deepmath.errors import InvalidRequest

# Where the optional libraries of a command come from.
_SOURCES = {
    "certs": "the extra `certs` of deepmath-services",
    "contamination": "the extra `evaluation` of deepmath-services",
    "eval": "the extra `evaluation` of deepmath-services",
    "report": "the extra `evaluation` of deepmath-services",
    "kernel": "the extra `jupyter` of deepmath-services",
    "mcp": "the extra `mcp` of deepmath-services",
    "push": "deepmath-trainer",
}


class LazyGroup(TyperGroup):
    """Commands of `package`: one module per command, each with an `app` made by `command_app`."""

    package: ClassVar[str]
    summaries: ClassVar[dict[str, str]]
    """By the command's name, which is also its module's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=summary) for name, summary in self.summaries.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the name, the command itself in place of its placeholder, and the remaining arguments.

        Raises:
            InvalidRequest: A library that the command needs is not installed.
        """
        name, placeholder, rest = super().resolve_command(ctx, args)
        return name, placeholder and self._load(name or ""), rest

    def _load(self, name: str) -> Any:
        try:
            return get_command(import_module(f"{self.package}.{name}").app)
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if name not in _SOURCES or library.startswith("deepmath"):
                raise
            source = f"{_SOURCES[name]}, from the checkout or from its wheel"
            raise InvalidRequest(f"{name} needs {library}, which is not installed; it comes with {source}") from None


def command_app(**options: Any) -> typer.Typer:
    """Return an empty Typer application for a command's module."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, **options)
