"""Every rendering is what the API server takes, strictly: no unknown field, no wrong type."""

import json
from functools import cache

import kubernetes_validate
import pytest
import yaml

from .custom_resources import KINDS
from .manifests import MANIFESTS, Manifest, of_kind, pods

# The least version of Kubernetes that the manifests are for (the sleep of preStop), and the newest known.
VERSIONS = ("1.32", kubernetes_validate.latest_version())


@cache
def check(manifest: str, version: str) -> None:
    """Refuse what Kubernetes would. What was good once, in another rendering, is not looked at again."""
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


def own(manifests: list[Manifest]) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] not in KINDS]


@pytest.mark.parametrize("version", VERSIONS)
def test_resources_are_valid(manifests, version: str) -> None:
    for manifest in own(manifests):
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


def test_unknown_field_is_refused(manifests) -> None:
    deployment = of_kind(manifests, "Deployment")[0]
    wrong = {**deployment, "spec": {**deployment["spec"], "replcas": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(json.dumps(wrong), VERSIONS[0])


def test_nothing_is_there_twice(manifests) -> None:
    names = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
    assert len(names) == len(set(names))


def test_every_resource_has_a_namespace(manifests) -> None:
    spared = {"Namespace", "RuntimeClass"}
    assert [
        m["metadata"]["name"] for m in manifests if m["kind"] not in spared and "namespace" not in m["metadata"]
    ] == []


def test_every_file_is_part_of_a_rendering() -> None:
    """A file that no kustomization names would be dead."""
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
