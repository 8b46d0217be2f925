"""Renderings of deploy/k8s by kustomize, in a namespace and with a prefix that are found again in the result."""

import itertools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .superposition import Variant

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ROOT / "deploy" / "k8s" / "components"
# The overlay of each kind of machine; the other features are components.
OVERLAYS = {False: "cpu-demo", True: "gpu"}
GPU = "gpu"
NAMESPACE = "the-namespace-of-the-release"
PREFIX = "the-prefix-of-the-release-"

Key = tuple[str, str, str]  # kind, namespace, name without its prefix
_HASH = re.compile("-[a-z0-9]{10}$")


@dataclass(frozen=True)
class Renderings:
    """What kustomize makes of every feature and of every pair; a pair that it refuses is exclusive."""

    features: list[str]
    objects: dict[Variant, dict[Key, Any]]
    exclusive: list[Variant]


def render_all(kustomize: list[str]) -> Renderings:
    """Return the renderings without a feature, with each, and with each pair."""
    features = [GPU, *sorted(path.name for path in COMPONENTS.iterdir())]
    sets = [frozenset(chosen) for size in range(3) for chosen in itertools.combinations(features, size)]
    with tempfile.TemporaryDirectory() as copy, ThreadPoolExecutor(2) as threads:
        shutil.copytree(ROOT / "deploy", Path(copy) / "deploy", ignore=shutil.ignore_patterns("helm"))
        rendered = list(threads.map(lambda chosen: _render(kustomize, Path(copy), chosen), sets))
    objects: dict[Variant, dict[Key, Any]] = {}
    exclusive = []
    for chosen, (found, message) in zip(sets, rendered, strict=True):
        if found is not None:
            objects[chosen] = found
        elif len(chosen) == 2:
            exclusive.append(chosen)
        else:
            raise RuntimeError(f"kustomize cannot render {sorted(chosen)}: {message}")
    return Renderings(features, objects, exclusive)


def _render(kustomize: list[str], copy: Path, chosen: Variant) -> tuple[dict[Key, Any] | None, str]:
    folder = copy / "deploy" / "k8s" / "-".join(["rendered", *sorted(chosen)])
    folder.mkdir()
    kustomization = {
        "namespace": NAMESPACE,
        "namePrefix": PREFIX,
        "resources": [f"../overlays/{OVERLAYS[GPU in chosen]}"],
        "components": [f"../components/{component}" for component in sorted(chosen - {GPU})],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = subprocess.run([*kustomize, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        return None, done.stderr
    objects = list(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return {_key(manifest): manifest for manifest in _without_hashes(objects)}, ""


def _key(manifest: Any) -> Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"].removeprefix(PREFIX)


def _without_hashes(objects: list[Any]) -> Iterator[Any]:
    """Yield the objects with the names of generated ConfigMaps free of the hash of their content."""
    names = (m["metadata"]["name"] for m in objects if m["kind"] == "ConfigMap")
    plain = {name: _HASH.sub("", name) for name in names if _HASH.search(name)}
    for manifest in objects:
        yield _replaced(manifest, plain)


def _replaced(node: Any, names: dict[str, str]) -> Any:
    match node:
        case dict():
            return {key: _replaced(value, names) for key, value in node.items()}
        case list():
            return [_replaced(value, names) for value in node]
        case str():
            return names.get(node, node)
    return node
