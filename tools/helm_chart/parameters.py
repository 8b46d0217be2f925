"""The chart's values: where each stands in the rendered objects, and its defaults, which the overlays give."""

import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from .renderings import Key
from .superposition import Choice, Node, Scalar, identity

_TABLE = Path(__file__).with_name("parameters.yaml")
_MISSING = object()


@dataclass(frozen=True)
class Parameter:
    """One value of the chart. `parameters.yaml` explains the fields."""

    value: str | None
    description: str = ""
    schema: Any = None
    at: tuple[str, ...] = ()
    match: str = ""
    template: str = ""
    entries: str = ""
    add: str = ""
    default: Any = _MISSING
    fallback: Any = _MISSING
    gpu: Any = _MISSING

    @cached_property
    def places(self) -> frozenset[tuple[str, tuple[str, ...]]]:
        """The places as address of the object and path in it."""
        return frozenset(
            (words[0], tuple(words[1:])) for place in self.at for words in map(str.split, _expanded(place))
        )

    def of(self, objects: dict[Key, Any]) -> Any:
        """Return the parameter's value in one rendering; `_MISSING` if no object there has it."""
        for address, path in sorted(self.places):
            manifest = next((m for key, m in objects.items() if f"{key[0]}/{key[2]}" == address), None)
            leaf = _at(manifest, path)
            if self.add and not self.entries:
                return _MISSING
            if self.entries and leaf is not _MISSING:
                return {name: text for name, text in _pairs(leaf) if re.fullmatch(self.entries, name)}
            if leaf is not _MISSING:
                return self._extracted(leaf)
        return _MISSING

    def _extracted(self, leaf: Any) -> Any:
        if not self.match:
            return leaf
        found = re.fullmatch(self.match, str(leaf))
        if not found:
            raise RuntimeError(f"{self.value}: {leaf!r} does not match {self.match!r}")
        return int(found[1]) if self.schema.get("type") == "integer" else found[1]


class Parameters:
    """All parameters, in the order of the table."""

    def __init__(self) -> None:
        self.sections: dict[str, str] = {}
        self.all: list[Parameter] = []
        self._absorbed: dict[str, set[str]] = {}
        for entry in yaml.safe_load(_TABLE.read_text()):
            if "section" in entry:
                self.sections[entry["section"]] = entry["description"]
            else:
                self.all.append(Parameter(entry.pop("value", None), at=tuple(entry.pop("at", ())), **entry))

    def expression(self, address: str, path: tuple[str, ...], node: Node) -> str | None:
        """Return what stands for a node in the template: YAML, of several lines for a part with entries of its own."""
        parameter = self._of(address, path)
        if not parameter or parameter.entries or parameter.add:
            return None
        if parameter.template:
            return parameter.template.rstrip("\n")
        example = node.alternatives[0][1] if isinstance(node, Choice) else node
        text = isinstance(example, Scalar) and isinstance(example.value, str)
        expression = f".Values.{parameter.value}"
        if parameter.match:
            return parameter.match.replace("(.*)", f"{{{{ {expression} }}}}").replace("\\", "")
        return f"{{{{ {expression} | quote }}}}" if text else f"{{{{ {expression} }}}}"

    def absorbs(self, address: str, path: tuple[str, ...]) -> bool:
        """Return whether an entry is one of a map among the values, which `additions` writes."""
        parameter = self._of(address, path[:-1])
        own = self._of(address, path)
        return bool(not own and parameter and path[-1] in self._absorbed.get(str(parameter.value), ()))

    def additions(self, address: str, path: tuple[str, ...]) -> list[str]:
        """Return the lines that a mapping or sequence of the template has at its end."""
        return [
            line
            for parameter in self.all
            if (parameter.add and (address, path) in parameter.places)
            for line in parameter.add.splitlines()
        ]

    def _of(self, address: str, path: tuple[str, ...]) -> Parameter | None:
        return next((p for p in self.all if (address, path) in p.places and (p.entries or not p.add)), None)

    def defaults(self, objects: dict[Key, Any], gpu: dict[Key, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the default of each value by its name, and those that differ with a GPU.

        Afterwards `absorbs` knows the entries of the overlays; those that a component adds stay in the templates.
        """
        plain: dict[str, Any] = {}
        differing: dict[str, Any] = {}
        for parameter in (p for p in self.all if p.value):
            name = str(parameter.value)
            here, there = parameter.of(objects), parameter.of(gpu)
            given = [one for one in (parameter.default, here, there, parameter.fallback) if one is not _MISSING]
            if parameter.entries:
                self._absorbed[name] = {*here, *there}
            if not given:
                raise RuntimeError(f"{name}: no rendering has it; it stands nowhere of {sorted(parameter.at)}")
            plain[name] = given[0]
            other = parameter.gpu if parameter.gpu is not _MISSING else there
            if other not in (_MISSING, plain[name]) and parameter.default is _MISSING:
                differing[name] = other
        return plain, differing


def _expanded(place: str) -> list[str]:
    """Expand one {a,b} or several, as a shell does."""
    parts = [part.split(",") if at % 2 else [part] for at, part in enumerate(re.split(r"\{(.*?)\}", place))]
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if isinstance(node, list):
            node = next((item for item in node if identity(item) == name), _MISSING)
        elif isinstance(node, dict):
            node = node.get(name, _MISSING)
        else:
            return _MISSING
    return _MISSING if node is None else node


def _pairs(leaf: Any) -> list[tuple[str, str]]:
    if isinstance(leaf, dict):
        return list(leaf.items())
    return [(item.partition("=")[0], item.partition("=")[2]) for item in leaf if "=" in item]
