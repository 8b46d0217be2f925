"""Renderings of deploy/k8s by kustomize, in a namespace and with a prefix that are found again in the result."""

import itertools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
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
    """Renderings without a feature, with each one, and with each pair."""

    features: list[str]
    objects: dict[Variant, dict[Key, Any]]
    exclusive: list[Variant]
    """Pairs that it refuses."""
    need_gpu: list[str]
    """Components that it refuses without a GPU."""


def render_all(kustomize: list[str]) -> Renderings:
    """Return the renderings without a feature, with each, and with each pair.

    Raises:
        RuntimeError: kustomize refuses a component.
    """
    features = [GPU, *sorted(path.name for path in COMPONENTS.iterdir())]
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT / "deploy", Path(copy) / "deploy", ignore=shutil.ignore_patterns("helm"))

        def render(variants: Iterable[Variant]) -> dict[Variant, dict[Key, Any] | str]:
            chosen = list(dict.fromkeys(variants))
            with ThreadPoolExecutor(2) as threads:
                return dict(
                    zip(chosen, threads.map(lambda one: _render(kustomize, Path(copy), one), chosen), strict=True)
                )

        alone = render([frozenset(), *(frozenset({feature}) for feature in features)])
        need_gpu = [feature for feature in features if isinstance(alone[frozenset({feature})], str)]
        pairs = [frozenset(pair) for pair in itertools.combinations(features, 2)]
        complete = {pair: pair | {GPU} if pair & set(need_gpu) else pair for pair in pairs}
        together = render(complete.values())
    for feature in need_gpu:
        if isinstance(message := together[frozenset({GPU, feature})], str):
            raise RuntimeError(f"kustomize cannot render {feature}: {message}")
    found = {**alone, **together}
    objects = {variant: made for variant, made in found.items() if not isinstance(made, str)}
    return Renderings(features, objects, [p for p in pairs if complete[p] not in objects], need_gpu)


def _render(kustomize: list[str], copy: Path, chosen: Variant) -> dict[Key, Any] | str:
    """Return the objects, or kustomize's message."""
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
        return done.stderr
    objects = list(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return {_key(manifest): manifest for manifest in without_hashes(objects)}


def _key(manifest: Any) -> Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"].removeprefix(PREFIX)


def without_hashes(objects: list[Any]) -> Iterator[Any]:
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
