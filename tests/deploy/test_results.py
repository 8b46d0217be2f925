"""From a finished run to a result: the commands that copy adapters and archive runs, executed as they are written."""

import os
import re
import subprocess
import tarfile
import uuid
from pathlib import Path

import pytest

from .manifests import Cell, Manifest, build, of_kind, pods
from .test_network import CLIENT, CLUSTER, COLLECTOR, DNS, INTERNET, METADATA, PORTS, allows, reached


def run(container: Manifest, folders: dict[str, Path], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command of `container` with its volumes at `folders`."""
    mounted = re.compile(f'({"|".join(folders)})(?=[/ "\n]|$)')
    command = [
        mounted.sub(lambda found: str(folders[found[1]]), part) for part in (*container["command"], *container["args"])
    ]
    environment = {"PATH": os.environ["PATH"], "HOSTNAME": f"pod-{uuid.uuid4().hex[:5]}", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def container_of(component: str) -> Manifest:
    (pod,) = (pod for pod in pods(build(Cell("cpu-demo", (component,)))) if pod.component == component)
    (container,) = pod.containers
    return container


@pytest.fixture
def folders(tmp_path, kustomize_command) -> dict[str, Path]:
    """The volumes."""
    made = {f"/{name}": tmp_path / name for name in ("runs", "adapters", "backups")}
    for folder in made.values():
        folder.mkdir()
    return made


def write_adapter(runs: Path, name: str, weights: str) -> None:
    folder = runs / name / "adapter"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_text(weights)


def test_adapter_of_a_finished_run_becomes_the_current_one(folders) -> None:
    copy = container_of("adapter")
    current = folders["/adapters"] / "current" / "adapter_model.safetensors"
    for name, weights in (("one", "first"), ("two", "second"), ("one", "third")):
        write_adapter(folders["/runs"], name, weights)
        ended = run(copy, folders, RUN=name)
        assert ended.returncode == 0, ended.stderr
        assert current.read_text() == weights
        assert len(list(folders["/adapters"].iterdir())) == 2  # the adapter and the link to it


def test_adapter_of_an_unfinished_run_is_an_error_that_changes_nothing(folders) -> None:
    copy = container_of("adapter")
    write_adapter(folders["/runs"], "one", "first")
    assert run(copy, folders, RUN="one").returncode == 0
    (folders["/runs"] / "two").mkdir()
    ended = run(copy, folders, RUN="two")
    assert ended.returncode == 1
    assert ended.stderr == "run two is not finished: no adapter\n"
    assert (folders["/adapters"] / "current" / "adapter_model.safetensors").read_text() == "first"


def test_interrupted_copy_is_repeated(folders) -> None:
    copy = container_of("adapter")
    write_adapter(folders["/runs"], "one", "first")
    (folders["/adapters"] / "one.pod-0").mkdir()
    (folders["/adapters"] / "one.pod-0" / "partial").write_text("")
    assert run(copy, folders, RUN="one").returncode == 0
    assert not (folders["/adapters"] / "current" / "partial").exists()


def test_generator_serves_the_current_adapter_from_its_start(kustomize_command) -> None:
    manifests = build(Cell("gpu", ("adapter",)))
    (generator,) = (pod for pod in pods(manifests) if pod.component == "generator")
    mounts = {mount["mountPath"]: mount for mount in generator.containers[0]["volumeMounts"]}
    assert mounts["/adapters"]["readOnly"] is True
    (config,) = (m for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"].startswith("generator-"))
    assert config["data"]["DEEPMATH_GENERATOR_ADAPTER"] == "/adapters/current"


def test_archive_contains_the_runs(folders, tmp_path) -> None:
    write_adapter(folders["/runs"], "one", "first")
    (folders["/runs"] / "lost+found").mkdir()  # of a file system, where only root may read it
    ended = run(container_of("runs-backup"), folders)
    assert ended.returncode == 0, ended.stderr
    (archive,) = folders["/backups"].iterdir()
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "restored", filter="data")
    assert (tmp_path / "restored/one/adapter/adapter_model.safetensors").read_text() == "first"
    assert not (tmp_path / "restored/lost+found").exists()


def test_seven_archives_are_kept_and_partial_ones_removed(folders) -> None:
    for day in range(10, 20):
        (folders["/backups"] / f"runs-202601{day}T031700Z.tar.gz").write_text("")
    (folders["/backups"] / ".runs-20260109T031700Z.tar.gz").write_text("partial")
    assert run(container_of("runs-backup"), folders).returncode == 0
    kept = sorted(path.name for path in folders["/backups"].iterdir())
    assert len(kept) == 7
    assert kept[:6] == [f"runs-202601{day}T031700Z.tar.gz" for day in range(14, 20)]


def test_failed_archive_is_an_error_and_removes_nothing(folders) -> None:
    (folders["/backups"] / "runs-20260110T031700Z.tar.gz").write_text("")
    ended = run(container_of("runs-backup"), {**folders, "/runs": folders["/runs"] / "missing"})
    assert ended.returncode != 0
    assert (folders["/backups"] / "runs-20260110T031700Z.tar.gz").exists()


@pytest.mark.parametrize("component", ["adapter", "results", "runs-backup"])
def test_pods_with_runs_reach_nothing(kustomize_command, component: str) -> None:
    manifests = build(Cell("gpu", (component,)))
    policies = of_kind(manifests, "NetworkPolicy")
    (pod,) = (pod for pod in pods(manifests) if pod.component == component)
    assert reached(policies, pod, [*pods(manifests), CLIENT, COLLECTOR, DNS]) == set()
    for address in (INTERNET, METADATA, CLUSTER):
        assert not any(allows(policies, pod, address, port, "egress") for port in PORTS)
        assert not any(allows(policies, pod, address, port, "ingress") for port in PORTS)


@pytest.mark.parametrize("component", ["adapter", "results", "runs-backup"])
def test_pods_with_runs_cannot_change_them(kustomize_command, component: str) -> None:
    mounts = {mount["name"]: mount for mount in container_of(component)["volumeMounts"]}
    assert mounts["runs"]["readOnly"] is True


def test_client_pod_is_a_labelled_client_with_its_certificate(kustomize_command) -> None:
    manifests = build(Cell("cpu-demo", ("cert-manager", "client")))
    (pod,) = (pod for pod in pods(manifests) if pod.component == "client")
    assert CLIENT.labels.items() <= pod.labels.items()
    secrets = {volume["secret"]["secretName"] for volume in pod.spec["volumes"] if "secret" in volume}
    (certificate,) = (c["spec"] for c in of_kind(manifests, "Certificate") if c["metadata"]["name"] == "client")
    assert certificate["secretName"] in secrets
    assert certificate["usages"] == ["digital signature", "client auth"]
