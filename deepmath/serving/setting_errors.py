"""One-line explanations of invalid settings, with the nearest known name for an unknown one."""

import difflib
import reprlib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_SIMILARITY = 0.4  # difflib's ratio; names of settings are short, so that one typo already costs much of it

# YAML's aliases make a few lines a value of any size.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 100, 100


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return "; did you mean `NAME`?" for the known name nearest to `name`, or an empty string if none is near.

    `prefix` is written before the known name.
    """
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=_SIMILARITY)
    return f"; did you mean `{prefix}{nearest[0]}`?" if nearest else ""


def explain_settings(error: ValidationError, settings: type[BaseModel]) -> Iterator[str]:
    """Yield one line for each mistake in `error`, which validating `settings` raised."""
    for mistake in error.errors():
        name = ".".join(map(str, mistake["loc"]))
        if mistake["type"] == "extra_forbidden":
            *sections, last = map(str, mistake["loc"])
            prefix = "".join(f"{section}." for section in sections)
            yield f"unknown setting `{name}`{did_you_mean(last, _known_names(sections, settings), prefix)}"
        elif mistake["type"] == "missing":
            yield f"missing setting `{name}`"
        elif mistake["type"] == "value_error":
            yield ": ".join(filter(None, (name, str(mistake["ctx"]["error"]))))
        else:
            value = _SHORT.repr(mistake["input"])
            yield f"{name} is {value}: {mistake['msg'][0].lower()}{mistake['msg'][1:]}"


def _known_names(sections: list[str], settings: type[BaseModel]) -> Iterable[str]:
    """Return the names of the settings in the section that `sections` lead to."""
    model: type[BaseModel] = settings
    for section in sections:
        field = model.model_fields.get(section)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return ()
        model = inner
    return model.model_fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation such as `Model | None`."""
    candidates = (annotation, *get_args(annotation))
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
