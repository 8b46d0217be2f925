"""Pods converted for podman differ from the manifests only in addresses, host names and volumes."""

from pathlib import Path

import pytest

from .manifests import Manifest, pods, render
from .podman_pods import Machine, PodmanPods, podman_pods

FOLDER = Path("/stack")


@pytest.fixture
def rendered(kustomize_command) -> list[Manifest]:
    return render("cpu-demo")


@pytest.fixture
def converted(rendered) -> PodmanPods:
    return podman_pods(rendered, Machine(FOLDER))


def pod_of(converted: PodmanPods, name: str) -> Manifest:
    return next(m for m in converted.manifests if m["kind"] == "Pod" and m["metadata"]["name"] == name)


def test_every_replica_is_a_pod_with_its_own_address(converted) -> None:
    assert list(converted.addresses) == ["executor-0", "executor-1", "generator-0", "trainer-0"]
    assert len(set(converted.addresses.values())) == 4
    assert all(address.startswith("127.") for address in converted.addresses.values())


def test_security_and_resources_equal_the_manifest(rendered, converted) -> None:
    for pod in pods(rendered):
        made = pod_of(converted, f"{pod.name}-0")["spec"]
        assert made["securityContext"] == pod.spec["securityContext"]
        for original, container in zip(pod.spec["containers"], made["containers"], strict=True):
            for key in ("securityContext", "resources", "envFrom", "command"):
                assert container.get(key) == original.get(key)


def test_arguments_equal_the_manifest_except_for_the_address_and_variables(rendered, converted) -> None:
    for pod in pods(rendered):
        arguments = pod_of(converted, f"{pod.name}-0")["spec"]["containers"][0]["args"]
        address = converted.addresses[f"{pod.name}-0"]
        original = [
            argument.replace("$(EXECUTOR_SERVICE)", "executor").replace("$(GENERATOR_SERVICE)", "generator")
            for argument in pod.spec["containers"][0]["args"]
        ]
        assert [argument.replace(address, "0.0.0.0") for argument in arguments] == original


def test_seccomp_profile_becomes_an_annotation(converted) -> None:
    annotation = "container.seccomp.security.alpha.kubernetes.io"
    executor = pod_of(converted, "executor-1")["metadata"]["annotations"]
    assert executor == {f"{annotation}/executor": "localhost/executor.json"}
    generator = pod_of(converted, "generator-0")["metadata"]["annotations"]
    assert generator == {f"{annotation}/generator": "runtime/default"}


def test_hosts_file_has_the_names_of_services_and_pods(converted) -> None:
    assert converted.hosts.splitlines() == [
        "127.0.0.1 localhost",
        "127.20.1.1 executor",
        "127.20.1.2 executor",
        "127.20.2.1 generator generator-0.generator",
    ]


def test_write_creates_files_and_writable_folders(converted, rendered, tmp_path) -> None:
    converted = podman_pods(rendered, Machine(tmp_path))
    assert converted.write(tmp_path) == tmp_path / "pods.yaml"
    assert (tmp_path / "hosts").read_text() == converted.hosts
    runs = tmp_path / "volumes" / "runs"
    assert runs.stat().st_mode & 0o1777 == 0o1777
