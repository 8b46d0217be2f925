"""Helm templates of superposed objects: conditions on features, expressions for parameters, the rest as rendered."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from .conditions import condition, literal
from .parameters import Parameters
from .renderings import NAMESPACE, PREFIX, Key
from .superposition import Choice, Mapping, Node, Scalar, Sequence, Variants

_LONG = 2000  # longer texts become files of the chart
_GO_TEMPLATE = re.compile(r"\{\{.*?\}\}")
_IMAGE = re.compile(r"deepmath-(?P<service>[a-z]+):[^-]*(?:-(?P<variant>.*))?")
_FIRST = ("apiVersion", "kind", "metadata", "name")
_WORKLOADS = {"Deployment", "StatefulSet"}
_LABELS = '{{- include "deepmath.labels" . | nindent 4 }}'


@dataclass
class TemplateWriter:
    """Writes one object; `files` collects the long texts by their path in the chart."""

    features: tuple[str, ...]
    parameters: Parameters
    files: dict[str, str] = field(default_factory=dict)

    def template(self, key: Key, node: Mapping, everywhere: Variants, having: Variants) -> str:
        """Return the template of the object `key`, which the renderings `having` contain."""
        self._address = f"{key[0]}/{key[2]}"
        self._config_maps = _config_maps(node)
        lines = ["---", *self._mapping(node, having, (), 0)]
        if self._wanted(having, everywhere):
            lines = [f"{{{{- if {self._wanted(having, everywhere)} }}}}", *lines, "{{- end }}"]
        return "\n".join(lines) + "\n"

    @staticmethod
    def value(feature: str) -> str:
        """Return the value that switches a feature on."""
        return literal(feature)

    def _wanted(self, having: Variants, universe: Variants) -> str | None:
        return condition(self.features, universe, having)

    def _node(self, node: Node, universe: Variants, path: tuple[str, ...], depth: int) -> list[str]:
        """Return the lines of a node; a single line without indentation stands after its key."""
        if expression := self.parameters.expression(self._address, path, node):
            return expression.splitlines()
        match node:
            case Scalar(value):
                return [self._scalar(value, path)]
            case Mapping():
                return self._mapping(node, universe, path, depth)
            case Sequence():
                return self._sequence(node, universe, path, depth)
            case Choice(alternatives):
                raise RuntimeError(f"{self._address}/{'/'.join(path)}: nested choice of {len(alternatives)}")

    def _mapping(self, node: Mapping, universe: Variants, path: tuple[str, ...], depth: int) -> list[str]:
        pad = "  " * depth
        lines = []
        entries = sorted(node.entries, key=lambda entry: _FIRST.index(entry[0]) if entry[0] in _FIRST else len(_FIRST))
        for key, having, value in entries:
            if self.parameters.absorbs(self._address, (*path, key)):
                continue
            if path == ("metadata",) and key == "labels":
                lines += self._labels(value, having, path, depth)
                continue
            entry = self._entry(key, value, having, (*path, key), depth)
            lines += _guarded(entry, self._wanted(having, universe), pad)
        lines += [pad + line for line in self.parameters.additions(self._address, path)]
        if path[-1:] == ("metadata",) and not any(key == "annotations" for key, _, _ in node.entries):
            annotations = self._annotations(path)
            lines += [f"{pad}annotations:", *(f"{pad}  {line}" for line in annotations)] if annotations else []
        if path[-2:] == ("metadata", "annotations"):
            lines += [pad + line for line in self._annotations(path[:-1])]
        return lines

    def _annotations(self, metadata: tuple[str, ...]) -> list[str]:
        """Return annotations that the chart adds: what restarts a pod if a ConfigMap changes, what keeps a volume."""
        kind = self._address.partition("/")[0]
        if metadata == ("metadata",) and kind == "PersistentVolumeClaim":
            return ["helm.sh/resource-policy: keep"]
        if metadata == ("spec", "template", "metadata") and kind in _WORKLOADS:
            return [
                f"checksum/{name}: "
                f'{{{{ include (print .Template.BasePath "/{name}/config-map.yaml") . | sha256sum | quote }}}}'
                for name in self._config_maps
            ]
        return []

    def _labels(self, value: Node, having: Variants, path: tuple[str, ...], depth: int) -> list[str]:
        assert isinstance(value, Mapping)
        pad = "  " * depth
        return [f"{pad}labels:", f"{pad}  {_LABELS}", *self._mapping(value, having, (*path, "labels"), depth + 1)]

    def _entry(self, key: str, value: Node, having: Variants, path: tuple[str, ...], depth: int) -> list[str]:
        pad = "  " * depth
        if isinstance(value, Choice) and not self.parameters.expression(self._address, path, value):
            return self._alternatives(
                value, having, lambda node, whose: self._entry(key, node, whose, path, depth), pad
            )
        name = _quoted(key)
        lines = self._node(value, having, path, depth + 1)
        if (
            len(lines) == 1
            and not lines[0].startswith(("  ", "{{- range"))
            and not isinstance(value, Mapping | Sequence)
        ):
            return [f"{pad}{name}: {lines[0]}"]
        return [f"{pad}{name}:", *self._indented(lines, value, path, depth + 1)]

    def _indented(self, lines: list[str], value: Node, path: tuple[str, ...], depth: int) -> list[str]:
        """Indent an expression of several lines; other lines have their indentation."""
        if self.parameters.expression(self._address, path, value):
            return ["  " * depth + line for line in lines]
        return lines

    def _sequence(self, node: Sequence, universe: Variants, path: tuple[str, ...], depth: int) -> list[str]:
        pad = "  " * depth
        lines = []
        for identity, having, value in node.items:
            if self.parameters.absorbs(self._address, (*path, identity)):
                continue
            item = self._item(value, having, (*path, identity), depth)
            lines += _guarded(item, self._wanted(having, universe), pad)
        return lines + [pad + line for line in self.parameters.additions(self._address, path)]

    def _item(self, value: Node, having: Variants, path: tuple[str, ...], depth: int) -> list[str]:
        pad = "  " * depth
        if isinstance(value, Choice) and not self.parameters.expression(self._address, path, value):
            return self._alternatives(value, having, lambda node, whose: self._item(node, whose, path, depth), pad)
        lines = self._node(value, having, path, depth + 1)
        if isinstance(value, Mapping | Sequence):
            first = next(at for at, line in enumerate(lines) if not line.lstrip().startswith("{{"))
            if first:  # a condition on the first entry cannot follow the dash
                return [f"{pad}-", *lines]
            return [f"{pad}- {lines[0].lstrip()}", *lines[1:]]
        return [f"{pad}- {lines[0]}"]

    def _alternatives(self, choice: Choice, universe: Variants, write: Any, pad: str) -> list[str]:
        written = [write(node, having) for having, node in choice.alternatives]
        if all(one == written[0] for one in written):  # such as an image, whose tag is computed
            return list(written[0])
        lines: list[str] = []
        remaining = universe
        for having, node in choice.alternatives[:-1]:
            word = "else if" if lines else "if"
            lines += [f"{pad}{{{{- {word} {self._wanted(having, remaining)} }}}}", *write(node, having)]
            remaining = remaining - having
        having, node = choice.alternatives[-1]
        return [*lines, f"{pad}{{{{- else }}}}", *write(node, having), f"{pad}{{{{- end }}}}"]

    def _scalar(self, value: Any, path: tuple[str, ...]) -> str:
        if not isinstance(value, str):
            return json.dumps(value)
        if path[-1] == "image" and (image := _IMAGE.fullmatch(value)):
            return f'{{{{ include "deepmath.image" (list $ "{image["service"]}") }}}}'
        if len(value) > _LONG:
            if NAMESPACE in value or PREFIX in value:
                raise RuntimeError(
                    f"{self._address}/{'/'.join(path)}: a long text that names the namespace or the prefix"
                )
            name = f"files/{path[-1]}"
            self.files[name] = value
            return f'{{{{ .Files.Get "{name}" | toJson }}}}'
        if value == NAMESPACE:
            return "{{ .Release.Namespace | quote }}"
        return _templated(value)


def _guarded(lines: list[str], wanted: str | None, pad: str) -> list[str]:
    return [f"{pad}{{{{- if {wanted} }}}}", *lines, f"{pad}{{{{- end }}}}"] if wanted else lines


def _templated(value: str) -> str:
    """Return a string as YAML in which namespace and prefix are expressions and other braces are literal."""
    escaped = _GO_TEMPLATE.sub(lambda found: "{{ `" + found[0] + "` }}", _quoted(value))
    return escaped.replace(NAMESPACE, "{{ .Release.Namespace }}").replace(PREFIX, "{{ .Values.namePrefix }}")


def _quoted(value: str) -> str:
    """Return a string as one line of YAML, in quotes if it needs them."""
    plain = yaml.safe_dump(value, width=10**6).removesuffix("...\n").strip()
    return json.dumps(value) if plain.startswith(("'", '"', "|", ">")) or "\n" in plain or "{{" in value else plain


def _config_maps(node: Node) -> list[str]:
    """Return the names of the ConfigMaps that a workload takes its environment from."""
    return sorted(set(_references(node)))


def _references(node: Node) -> Iterator[str]:
    match node:
        case Mapping(entries):
            for key, _, value in entries:
                if key == "configMapRef" and isinstance(value, Mapping):
                    yield from (
                        str(n.value).removeprefix(PREFIX)
                        for k, _, n in value.entries
                        if k == "name" and isinstance(n, Scalar)
                    )
                yield from _references(value)
        case Sequence(items):
            for _, _, value in items:
                yield from _references(value)
        case Choice(alternatives):
            for _, value in alternatives:
                yield from _references(value)
