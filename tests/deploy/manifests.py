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

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy" / "k8s"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (MANIFESTS / "components").iterdir())
# Incompatible combinations, with the reason.
INCOMPATIBLE = {
    ("gpu", "trainer-service"): "the service has neither GPU nor models",
    ("multi-node", "trainer-service"): "its trainer is a JobSet",
}
# Each overlay alone and with each component, and one with all components that are compatible.
RENDERINGS = [
    *((overlay,) for overlay in OVERLAYS),
    *(
        (overlay, component)
        for overlay in OVERLAYS
        for component in COMPONENTS
        if (overlay, component) not in INCOMPATIBLE
    ),
    ("cpu-demo", *(component for component in COMPONENTS if component not in {"hpa", "hpa-queue", "trainer-service"})),
]

Manifest = dict[str, Any]


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


def kustomize() -> list[str]:
    """Return the rendering command; empty if none is installed."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return ["kustomize", "build"] if shutil.which("kustomize") else []


@cache
def render(overlay: str, *components: str) -> list[Manifest]:
    """Return the manifests of an overlay with `components`, as a cluster would receive them."""
    # In a copy: tests in other processes read the source tree at the same time.
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT / "deploy", copy, dirs_exist_ok=True)
        folder = Path(copy) / "k8s" / "rendered"
        folder.mkdir()
        kustomization = {
            "resources": [f"../overlays/{overlay}"],
            "components": [f"../components/{component}" for component in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        rendered = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def templates(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Yield the pod templates in a manifest, each with the name of its pods."""
    name, spec = manifest["metadata"]["name"], manifest.get("spec", {})
    match manifest["kind"]:
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
            yield name, spec["template"]
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
