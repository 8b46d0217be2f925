"""Renderings of deploy/k8s by kustomize, and the pods that their controllers would create."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tools.helm_chart.kubernetes_commands import kustomize as kustomize

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy" / "k8s"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (MANIFESTS / "components").iterdir())
# Combinations that kustomize refuses, with the reason.
INCOMPATIBLE = {
    ("multi-node", "trainer-service"): "its trainer is a JobSet",
    ("cpu-demo", "gpu-nodes"): "it has no GPU",
}
# Components that replace each other.
EXCLUSIVE = [("hpa", "hpa-queue"), ("hpa", "keda"), ("hpa-queue", "keda")]
# Components by overlay, without those that it refuses.
COMPATIBLE = {
    overlay: [component for component in COMPONENTS if (overlay, component) not in INCOMPATIBLE] for overlay in OVERLAYS
}


def largest_sets(overlay: str) -> list[tuple[str, ...]]:
    """Return the largest sets of compatible components, one per autoscaler (hpa-queue contains hpa)."""
    scalers = {"hpa", "hpa-queue", "keda"}
    others = [component for component in COMPATIBLE[overlay] if component not in scalers]
    return [(*others, scaler) for scaler in ("hpa-queue", "keda")]


# Each overlay alone and with all components, and the overlay gpu with each component.
RENDERINGS = [
    *((overlay,) for overlay in OVERLAYS),
    *(("gpu", component) for component in COMPATIBLE["gpu"]),
    *((overlay, *components) for overlay in OVERLAYS for components in largest_sets(overlay)),
]

Manifest = dict[str, Any]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast


@dataclass(frozen=True)
class Pod:
    """A pod as its controller would create it."""

    kind: str
    name: str
    namespace: str
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Cell:
    """One installation: a user's kustomization of an overlay and components."""

    overlay: str
    components: tuple[str, ...] = ()
    namespace: str | None = None
    prefix: str = ""
    suffix: str = ""

    def kustomization(self) -> Manifest:
        fields = {
            "resources": [f"../overlays/{self.overlay}"],
            "components": [f"../components/{component}" for component in self.components],
            "namespace": self.namespace,
            "namePrefix": self.prefix,
            "nameSuffix": self.suffix,
        }
        return {key: value for key, value in fields.items() if value}


class RenderingError(Exception):
    """kustomize refuses a kustomization."""


@cache
def build(*cells: Cell) -> list[Manifest]:
    """Return the manifests of all cells, from one kustomization that contains the cells' own.

    Raises:
        RenderingError: kustomize fails.
    """
    # In a copy: tests in other processes read the source tree at the same time.
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT / "deploy", copy, dirs_exist_ok=True)
        names = [f"cell-{number}" for number in range(len(cells))]
        kustomizations = {name: cell.kustomization() for name, cell in zip(names, cells, strict=True)}
        kustomizations["cells"] = {"resources": [f"../{name}" for name in names]}
        for name, kustomization in kustomizations.items():
            folder = Path(copy) / "k8s" / name
            folder.mkdir()
            (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return _run(Path(copy) / "k8s" / ("cells" if len(cells) > 1 else names[0]))


@cache
def render(overlay: str, *components: str) -> list[Manifest]:
    """Return the manifests of an overlay with `components`, as a cluster would receive them."""
    return build(Cell(overlay, components))


@cache
def render_cluster() -> list[Manifest]:
    """Return the manifests that a cluster has once, whatever the number of cells."""
    return [*_run(MANIFESTS / "cluster"), *_run(MANIFESTS / "cluster" / "gvisor")]


def _run(folder: Path) -> list[Manifest]:
    rendered = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, check=False)
    if rendered.returncode:
        raise RenderingError(rendered.stderr)
    return list(yaml.load_all(rendered.stdout, _LOADER))


def templates(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Yield the pod templates in a manifest, each with the name of its pods."""
    name, spec = manifest["metadata"]["name"], manifest.get("spec", {})
    match manifest["kind"]:
        case "Pod":
            yield name, manifest
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
            yield name, spec["template"]
        case "CronJob":
            yield name, spec["jobTemplate"]["spec"]["template"]
        case "LeaderWorkerSet":
            group = spec["leaderWorkerTemplate"]
            yield f"{name}-leader", group["leaderTemplate"]
            yield f"{name}-worker", group["workerTemplate"]
        case "JobSet":
            for job in spec["replicatedJobs"]:
                yield f"{name}-{job['name']}", job["template"]["spec"]["template"]


def pods(manifests: list[Manifest]) -> list[Pod]:
    """Return one pod per template in `manifests`."""
    return [
        Pod(manifest["kind"], name, manifest["metadata"]["namespace"], template["metadata"]["labels"], template["spec"])
        for manifest in manifests
        for name, template in templates(manifest)
    ]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]
