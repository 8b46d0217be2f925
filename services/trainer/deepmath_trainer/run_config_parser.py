"""Parses a run's configuration: a recipe or YAML text, with `key.sub=value` overrides.

Services read theirs with pydantic-settings (`deepmath.serving.service_config`), whose layers are a file, environment
variables and flags. A run is started by an RPC with YAML text and overrides, for which pydantic-settings has no source;
both use pydantic models and explain mistakes with `deepmath.serving.setting_errors`.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deepmath.errors import InvalidRequest
from deepmath.serving.setting_errors import did_you_mean, explain_settings
from deepmath_trainer.run_config import TrainConfig

# An impossible date or a long integer is a ValueError, deep nesting a RecursionError.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)

RECIPES = Path(str(files("deepmath_trainer") / "recipes"))


def read_recipe(name: str) -> str:
    """Return the text of a recipe.

    Raises:
        InvalidRequest: there is no recipe `name`.
    """
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    if name not in names:
        hint = did_you_mean(name, names) or f"; recipes: {', '.join(names)}"
        raise InvalidRequest(f"no file and no recipe is named {name!r}{hint}")
    return (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")


def parse_config(text: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the configuration in `text`, YAML, with `key.sub=value` strings over it.

    Raises:
        InvalidRequest: it is invalid; the message names every mistake, and for an unknown key the nearest known one.
    """
    try:
        values = yaml.safe_load(text)
    except _NOT_YAML as error:
        raise InvalidRequest(f"the configuration is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InvalidRequest("the configuration must be a mapping with at least `model: NAME`")
    for override in overrides:
        _set(values, override)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest("; ".join(explain_settings(error, TrainConfig))) from None


def _set(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InvalidRequest(f"{override!r} is not an override; write KEY=VALUE, such as optimizer.steps=50")
    *sections, key = path.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise InvalidRequest(f"{override!r}: {section} is a value, not a section")
        values = inner
    try:
        values[key] = yaml.safe_load(text)
    except _NOT_YAML:
        raise InvalidRequest(f"{override!r}: the value is not valid YAML; put it in quotes") from None
