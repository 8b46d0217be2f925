"""Sources of reasoning-gym's problems: `reasoning-gym:chain_sum(min_terms=3)*2 + gcd`, or a YAML file.

The text is a Python expression, as reasoning-gym's users write calls: tasks with their options as keyword arguments,
joined by `+`, each with a weight after `*`. It is parsed and never evaluated. A YAML file has the format of the
library's own composites: `datasets`, a list of `name`, `weight` and `config`. Whether a task and its options exist is
known to `gym_generator` only, which has the library.
"""

import ast
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from deepmath.errors import InvalidRequest
from deepmath.grading.gym_entry import GymTask
from deepmath.user_files import read_text

PREFIX = "reasoning-gym:"
_EXAMPLE = "reasoning-gym:gcd, or reasoning-gym:chain_sum(min_terms=3)*2 + gcd"
_MOST_CHARACTERS = 4000
_MOST_TASKS = 200  # the library has half as many
_YAML = (".yaml", ".yml")
_RESERVED = {"seed": "seed", "size": "limit"}  # options of the library's, and what sets them here


@dataclass(frozen=True)
class WeightedTask:
    """A task of a mix. Of the problems it gets its weight's share."""

    task: GymTask
    weight: float = 1.0


@dataclass(frozen=True)
class GymSource:
    """One task of reasoning-gym, or a mix."""

    text: str
    """As the user wrote it, with the prefix."""
    parts: tuple[WeightedTask, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source that `text`, which has the prefix, describes.

        Raises:
            InvalidRequest: it is not a source, or a file cannot be read; the message shows what to write.
        """
        expression = text.removeprefix(PREFIX).strip()
        is_file = expression.endswith(_YAML)
        parts = list(_file_parts(expression) if is_file else _expression_parts(expression))
        if len({part.task for part in parts}) < len(parts):
            raise InvalidRequest(f"{text[:200]}: a task occurs twice with the same options; give it a weight instead")
        return cls(text, tuple(parts))

    @property
    def tasks(self) -> frozenset[GymTask]:
        """The tasks without their weights."""
        return frozenset(part.task for part in self.parts)


def is_gym_source(name: str) -> bool:
    """Return whether the name of a dataset or benchmark is a source of reasoning-gym's problems."""
    return name.startswith(PREFIX)


def tasks_of(name: str) -> frozenset[GymTask]:
    """Return the tasks of a dataset or benchmark; none if it is another one."""
    return GymSource.parse(name).tasks if is_gym_source(name) else frozenset()


def _expression_parts(text: str) -> Iterator[WeightedTask]:
    if not text:
        raise InvalidRequest(f"the source names no task; write {_EXAMPLE}")
    if len(text) > _MOST_CHARACTERS:
        raise InvalidRequest(f"the source is longer than {_MOST_CHARACTERS} characters; write a YAML file for it")
    try:
        terms = _terms(ast.parse(text, mode="eval").body)
        if len(terms) > _MOST_TASKS:
            raise InvalidRequest(f"the source has {len(terms)} tasks; at most {_MOST_TASKS} are supported")
        for term in terms:
            yield _weighted(term)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InvalidRequest(f"{text[:200]!r} is not a source of reasoning-gym's problems; write {_EXAMPLE}") from None


def _terms(node: ast.expr) -> list[ast.expr]:
    found = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        found.append(node.right)
        node = node.left
    return [node, *reversed(found)]


def _weighted(node: ast.expr) -> WeightedTask:
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return WeightedTask(_task(node))
    factor = node.right
    if not isinstance(factor, ast.Constant):
        raise ValueError("no weight")
    return WeightedTask(_task(node.left), _weight(factor.value))


def _task(node: ast.expr) -> GymTask:
    if isinstance(node, ast.Name):
        return GymTask(node.id)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise ValueError("no task")
    options = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("no option")
        options[keyword.arg] = ast.literal_eval(keyword.value)
    return _checked(node.func.id, options)


def _file_parts(file: str) -> Iterator[WeightedTask]:
    try:
        import yaml
    except ImportError:
        raise InvalidRequest(f"{file} needs the extra `reasoning-gym`") from None
    try:
        content = yaml.safe_load(read_text(file, _MOST_CHARACTERS * 16))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    datasets = content.get("datasets") if isinstance(content, dict) else None
    if not isinstance(datasets, list) or not 0 < len(datasets) <= _MOST_TASKS:
        raise InvalidRequest(f"{file} needs `datasets`: up to {_MOST_TASKS} tasks with name, weight and config")
    if others := sorted(map(str, content.keys() - {"datasets"})):
        raise InvalidRequest(f"{file}: remove {', '.join(others)[:200]}; the seed and the number are set elsewhere")
    for number, one in enumerate(datasets, start=1):
        if not isinstance(one, dict) or one.keys() - {"name", "weight", "config"} or not one.get("name"):
            raise InvalidRequest(f"{file}, dataset {number}: give name, and optionally weight and config")
        config = one.get("config") or {}
        if not isinstance(config, dict):
            raise InvalidRequest(f"{file}, dataset {number}: config is not a mapping of options")
        yield WeightedTask(_checked(str(one["name"]), config), _weight(one.get("weight", 1)))


def _checked(name: str, options: dict[str, Any]) -> GymTask:
    for option, setting in _RESERVED.items():
        if option in options:
            raise InvalidRequest(f"{name}: remove the option {option}; the problems are chosen by `{setting}`")
    try:
        return GymTask(name, json.dumps(options, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError):
        raise InvalidRequest(f"{name}: an option is not a number, a text, a truth value or a list of them") from None


def _weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidRequest(f"the weight {value!r:.40} is not a positive number")
    return float(value)
