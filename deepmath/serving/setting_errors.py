"""One-line explanations of invalid settings, with the nearest known name for an unknown one."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_SIMILARITY = 0.4  # difflib's ratio; names of settings are short, so that one typo already costs much of it


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean `NAME`?" for the known name nearest to `name`, or an empty string if none is near."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=_SIMILARITY)
    return f"; did you mean `{nearest[0]}`?" if nearest else ""


def explain_settings(error: ValidationError, settings: type[BaseModel]) -> Iterator[str]:
    """Yield one line for each mistake in `error`, which validating `settings` raised."""
    for mistake in error.errors():
        name = ".".join(map(str, mistake["loc"]))
        if mistake["type"] == "extra_forbidden":
            yield f"unknown setting `{name}`{did_you_mean(name, _known_names(mistake['loc'], settings))}"
        elif mistake["type"] == "missing":
            yield f"missing setting `{name}`"
        elif mistake["type"] == "value_error":
            yield ": ".join(filter(None, (name, str(mistake["ctx"]["error"]))))
        else:
            yield f"{name} is {mistake['input']!r}: {mistake['msg'][0].lower()}{mistake['msg'][1:]}"


def _known_names(path: tuple[int | str, ...], settings: type[BaseModel]) -> list[str]:
    """Return the settings beside `path`, each with its full name."""
    section: type[BaseModel] = settings
    for key in path[:-1]:
        field = section.model_fields.get(str(key))
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        section = inner
    prefix = "".join(f"{key}." for key in path[:-1])
    return [prefix + name for name in section.model_fields]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation such as `Model | None`."""
    candidates = (annotation, *get_args(annotation))
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
