"""Types of settings that are paths: `~` is the home directory in a file, a variable and a flag alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator

from deepmath.errors import InvalidRequest
from deepmath.user_files import expand_home, user_path

_T = TypeVar("_T")


def _expanded(expand: Callable[[str], _T]) -> Callable[[object], object]:
    def validate(value: object) -> object:
        try:
            return expand(value) if isinstance(value, str) and value else value
        except InvalidRequest as error:
            raise ValueError(str(error)) from None

    return validate


PathSetting = Annotated[Path, BeforeValidator(_expanded(user_path))]
"""A path."""
NameOrPath = Annotated[str, BeforeValidator(_expanded(expand_home))]
"""A name, such as that of a model on a hub, or a path; may be empty."""
