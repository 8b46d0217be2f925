"""What podman is given to play is the manifest, but for where the pods listen and where their files are."""

from pathlib import Path

import pytest

from .manifests import Manifest, pods, render
from .playable import Machine, Played, playable

FOLDER = Path("/stack")


@pytest.fixture
def rendered(kustomize_command) -> list[Manifest]:
    return render("cpu-demo")


@pytest.fixture
def played(rendered) -> Played:
    return playable(rendered, Machine(FOLDER))


def pod_of(played: Played, name: str) -> Manifest:
    return next(m for m in played.manifests if m["kind"] == "Pod" and m["metadata"]["name"] == name)


def test_every_replica_is_a_pod_with_an_address_of_its_own(played) -> None:
    assert list(played.addresses) == ["executor-0", "executor-1", "generator-0", "trainer-0"]
    assert len(set(played.addresses.values())) == 4
    assert all(address.startswith("127.") for address in played.addresses.values())


def test_security_and_resources_are_the_manifests(rendered, played) -> None:
    for pod in pods(rendered):
        made = pod_of(played, f"{pod.name}-0")["spec"]
        assert made["securityContext"] == pod.spec["securityContext"]
        for ours, theirs in zip(pod.spec["containers"], made["containers"], strict=True):
            for key in ("securityContext", "resources", "envFrom", "command"):
                assert theirs.get(key) == ours.get(key)


def test_arguments_are_the_manifests_but_for_the_address(rendered, played) -> None:
    for pod in pods(rendered):
        arguments = pod_of(played, f"{pod.name}-0")["spec"]["containers"][0]["args"]
        address = played.addresses[f"{pod.name}-0"]
        assert [argument.replace(address, "0.0.0.0") for argument in arguments] == pod.spec["containers"][0]["args"]


def test_profile_is_named_as_podman_wants_it(played) -> None:
    annotation = "container.seccomp.security.alpha.kubernetes.io"
    of_executor = pod_of(played, "executor-1")["metadata"]["annotations"]
    assert of_executor == {f"{annotation}/executor": "localhost/executor.json"}
    of_generator = pod_of(played, "generator-0")["metadata"]["annotations"]
    assert of_generator == {f"{annotation}/generator": "runtime/default"}


def test_names_of_services_and_of_their_pods_are_in_the_hosts_file(played) -> None:
    assert played.hosts.splitlines() == [
        "127.0.0.1 localhost",
        "127.20.1.1 executor.deepmath.svc",
        "127.20.1.2 executor.deepmath.svc",
        "127.20.2.1 generator.deepmath.svc generator-0.generator.deepmath.svc",
    ]


def test_folders_are_made_and_files_written(played, rendered, tmp_path) -> None:
    played = playable(rendered, Machine(tmp_path))
    assert played.write(tmp_path) == tmp_path / "pods.yaml"
    assert (tmp_path / "hosts").read_text() == played.hosts
    runs = tmp_path / "volumes" / "runs"
    assert runs.stat().st_mode & 0o1777 == 0o1777
