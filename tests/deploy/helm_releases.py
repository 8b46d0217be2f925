"""Renderings of the chart by `helm template`, and what Helm and kustomize add to the same objects."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from tools.helm_chart.kubernetes_commands import command
from tools.helm_chart.renderings import without_hashes

from .manifests import ROOT, Manifest

CHART = ROOT / "deploy" / "helm" / "deepmath"
_LABELS = {"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that a mapping has twice, of which Helm would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice: {sorted(key for key in keys if keys.count(key) > 1)}"
        return dict(super().construct_mapping(node, deep))


class ChartError(Exception):
    """Helm refuses the values."""


@dataclass(frozen=True)
class Release:
    """One installation of the chart."""

    gpu: bool = False
    components: tuple[str, ...] = ()
    namespace: str = "deepmath"
    prefix: str = ""
    name: str = "deepmath"
    values: str = field(default="", repr=False)  # further values, as YAML

    def __str__(self) -> str:
        return "+".join(["gpu" if self.gpu else "cpu-demo", *self.components, self.values.strip()]).rstrip("+")


def helm() -> str | None:
    """Return the command `helm`."""
    return command("helm")


@cache
def template(release: Release) -> list[Manifest]:
    """Return the objects of a release.

    Raises:
        ChartError: Helm fails.
    """
    values = yaml.safe_load(release.values) or {}
    values.setdefault("components", {}).update({camel_case(name): True for name in release.components})
    if "adapter" in release.components:  # the component's own default; the chart's is the run of the trainer
        values.setdefault("generator", {}).setdefault("adapterRun", "run")
    if release.prefix:
        values["namePrefix"] = release.prefix
    files = [*(["--values", str(CHART / "values-gpu.yaml")] if release.gpu else []), "--values", "-"]
    rendered = subprocess.run(
        [helm() or "helm", "template", release.name, str(CHART), "--namespace", release.namespace, *files],
        input=json.dumps(values),  # YAML would leave texts such as N without quotes
        capture_output=True,
        text=True,
        check=False,
    )
    if rendered.returncode:
        raise ChartError(rendered.stderr)
    return [manifest for manifest in yaml.load_all(rendered.stdout, _Loader) if manifest]


def camel_case(component: str) -> str:
    """Return the value of the chart that switches a component on."""
    first, *others = component.split("-")
    return first + "".join(map(str.capitalize, others))


def meaning(manifests: list[Manifest]) -> dict[str, Any]:
    """Return what the objects mean, by kind and name: without their order, and without what a tool adds to them.

    Helm adds labels and annotations; kustomize suffixes the names of ConfigMaps with a hash of their content; a chart
    cannot contain the namespace that it is installed in.
    """
    return {
        f"{manifest['kind']}/{manifest['metadata']['name']}": _normalized(manifest)
        for manifest in without_hashes(manifests)
        if manifest["kind"] != "Namespace"
    }


def _normalized(node: Any) -> Any:
    match node:
        case dict():
            found = {key: _normalized(value) for key, value in node.items()}
            if "labels" in found and isinstance(found["labels"], dict):
                found["labels"] = {key: value for key, value in found["labels"].items() if key not in _LABELS}
            if isinstance(found.get("annotations"), dict):
                found["annotations"] = {
                    key: value
                    for key, value in found["annotations"].items()
                    if not key.startswith(("checksum/", "helm.sh/"))
                }
            return {
                key: value
                for key, value in found.items()
                if value not in ({}, None) or key not in ("annotations", "data")
            }
        case list() if all(isinstance(item, dict) and "name" in item for item in node):
            return sorted((_normalized(item) for item in node), key=lambda item: item["name"])
        case list() if all(isinstance(item, str) for item in node):
            settings = [item for item in node if re.match(r"[a-z][\w.]*=", item)]
            return [*(item for item in node if item not in settings), *sorted(settings)]
        case list():
            return [_normalized(item) for item in node]
    return node


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return where two meanings differ, a line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for key in sorted({*one, *other})
            for line in differences(one.get(key), other.get(key), f"{path}/{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            line for at, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{path}/{at}")
        ]
    return [] if one == other else [f"{path}: {one!r} != {other!r}"]
