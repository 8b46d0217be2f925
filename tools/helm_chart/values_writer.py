"""values.yaml, values-gpu.yaml and values.schema.json of the chart."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from .conditions import camel_case
from .parameters import Parameters
from .renderings import COMPONENTS

_WIDTH = 100


def values(parameters: Parameters, defaults: dict[str, Any], components: list[str], generated: str) -> str:
    """Return values.yaml: every value with its description and its default."""
    lines = [f"# {generated}"]
    open_sections: tuple[str, ...] = ()
    for parameter in (p for p in parameters.all if p.value):
        *sections, name = str(parameter.value).split(".")
        for depth, section in enumerate(sections):
            if open_sections[: depth + 1] != tuple(sections[: depth + 1]):
                lines += ["", *_comment(parameters.sections.get(section, ""), depth), f"{'  ' * depth}{section}:"]
        if not sections:
            lines.append("")
        open_sections = tuple(sections)
        lines += _comment(parameter.description, len(sections))
        lines += _entry(name, defaults[str(parameter.value)], len(sections))
    lines += ["", "# Optional parts: deploy/k8s/components, of the same names.", "components:"]
    for component in components:
        lines += [*_comment(description(component), 1), f"  {camel_case(component)}: false"]
    return "\n".join(lines) + "\n"


def gpu_values(plain: dict[str, Any], differing: dict[str, Any], generated: str) -> str:
    """Return values-gpu.yaml: what differs in the overlay gpu. An entry that it lacks is null, which removes it."""
    nested: dict[str, Any] = {"gpu": {"enabled": True}}
    for name, value in differing.items():
        _put(nested, name.split("."), _changes(plain[name], value) if isinstance(value, dict) else value)
    text = yaml.safe_dump(nested, sort_keys=False, width=_WIDTH)
    return f"# {generated}\n# The overlay gpu: helm install --values values-gpu.yaml\n{text}"


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    removed = {key: None for key in before if key not in after}
    return removed | {key: value for key, value in after.items() if before.get(key) != value}


def schema(parameters: Parameters, components: list[str]) -> str:
    """Return values.schema.json, which allows no other value."""
    root = _object()
    for parameter in (p for p in parameters.all if p.value):
        *sections, name = str(parameter.value).split(".")
        at = root
        for section in sections:
            at = at["properties"].setdefault(section, _object())
        at["properties"][name] = {"description": parameter.description, **parameter.schema}
    root["properties"]["components"] = _object()
    for component in components:
        root["properties"]["components"]["properties"][camel_case(component)] = {
            "description": description(component),
            "type": "boolean",
        }
    root["properties"]["global"] = {"type": "object"}
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **root}, indent=2) + "\n"


def description(component: str) -> str:
    """Return the first sentence of a component's kustomization."""
    text = []
    for line in (COMPONENTS / component / "kustomization.yaml").read_text().splitlines():
        if not line.startswith("#"):
            break
        text.append(line.lstrip("# "))
    sentence, point, _ = " ".join(text).partition(". ")
    return sentence + (point and ".")


def _object() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _put(nested: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        nested = nested.setdefault(name, {})
    nested[path[-1]] = value


def _entry(name: str, value: Any, depth: int) -> Iterator[str]:
    text = yaml.safe_dump({name: value}, sort_keys=False, width=_WIDTH)
    return ("  " * depth + line for line in text.splitlines())


def _comment(text: str, depth: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) + 2 * depth > _WIDTH - 4:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return ["  " * depth + f"# {part}" for part in [*lines, line] if part]
