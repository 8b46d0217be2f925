"""Every rendering passes strict schema validation: no unknown field, no wrong type."""

import json
from functools import cache

import kubernetes_validate
import pytest
import yaml

from .custom_resources import KINDS
from .manifests import MANIFESTS, Manifest, of_kind, pods

# The oldest supported version of Kubernetes (preStop sleep), and the newest in the library.
VERSIONS = ("1.32", kubernetes_validate.latest_version())


@cache
def check(manifest: str, version: str) -> None:
    """Validate a manifest, once for all renderings that contain it."""
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


def built_in(manifests: list[Manifest]) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] not in KINDS]


@pytest.mark.parametrize("version", VERSIONS)
def test_resources_are_valid(manifests, version: str) -> None:
    for manifest in built_in(manifests):
        check(json.dumps(manifest), version)


def test_custom_resources_are_valid(manifests) -> None:
    for manifest in of_kind(manifests, *KINDS):
        KINDS[manifest["kind"]].model_validate(manifest)


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_of_custom_resources_are_valid(manifests, version: str) -> None:
    for pod in pods(of_kind(manifests, *KINDS)):
        made = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod.name, "labels": pod.labels},
            "spec": pod.spec,
        }
        check(json.dumps(made), version)


def test_unknown_field_is_rejected(cell) -> None:
    deployment = of_kind(cell, "Deployment")[0]
    wrong = {**deployment, "spec": {**deployment["spec"], "replcas": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(json.dumps(wrong), VERSIONS[0])


def test_no_resource_is_defined_twice(manifests) -> None:
    names = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
    assert len(names) == len(set(names))


def test_every_resource_has_a_namespace(manifests) -> None:
    cluster_wide = {"Namespace", "RuntimeClass", "PriorityClass"}
    assert [
        m["metadata"]["name"] for m in manifests if m["kind"] not in cluster_wide and "namespace" not in m["metadata"]
    ] == []


def test_every_file_is_used_by_a_kustomization() -> None:
    named = set()
    for file in MANIFESTS.rglob("kustomization.yaml"):
        kustomization = yaml.safe_load(file.read_text())
        named.add(file)
        names = [*kustomization.get("resources", []), *kustomization.get("configurations", [])]
        names += [patch["path"] for patch in kustomization.get("patches", []) if "path" in patch]
        for generator in kustomization.get("configMapGenerator", []):
            names += [name.rpartition("=")[2] for key in ("envs", "files") for name in generator.get(key, [])]
        named |= {(file.parent / name).resolve() for name in names}
    assert [file for file in MANIFESTS.rglob("*") if file.is_file() and file.resolve() not in named] == []
