"""compose.yaml: the stack on one host."""

import json
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from deepmath import __version__

from .manifests import ROOT, of_kind, render

SERVICES = ("executor", "generator", "trainer", "gateway")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


@pytest.fixture(params=SERVICES)
def service(request) -> dict[str, Any]:
    return COMPOSE["services"][request.param]


def test_each_image_has_a_service() -> None:
    assert tuple(COMPOSE["services"]) == SERVICES


def test_service_has_no_privileges_and_a_read_only_root(service) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode"} & set(service)
    assert service["user"].startswith("${USER_AND_GROUP:-65534")


def test_service_has_resource_limits(service) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    assert service["memswap_limit"] == limits["memory"]  # no swap


def test_service_pins_its_image_and_keeps_its_health_check(service) -> None:
    assert service["image"].endswith(f":{__version__}")
    assert "healthcheck" not in service


def test_executors_use_the_seccomp_profile() -> None:
    assert "seccomp:deploy/seccomp/executor.json" in COMPOSE["services"]["executor"]["security_opt"]


def test_executors_have_only_internal_networks_and_no_published_port() -> None:
    executor = COMPOSE["services"]["executor"]
    assert all(COMPOSE["networks"][name]["internal"] for name in executor["networks"])
    assert "ports" not in executor


def test_trainers_and_executors_share_no_network() -> None:
    networks = {name: set(COMPOSE["services"][name]["networks"]) for name in SERVICES}
    assert not networks["trainer"] & networks["executor"]
    assert networks["trainer"] & networks["generator"]
    assert networks["executor"] & networks["generator"]
    assert not networks["trainer"] & networks["gateway"]
    assert networks["executor"] & networks["gateway"]
    assert networks["generator"] & networks["gateway"]


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:7302:7302", "127.0.0.1:7304:7304"]


def test_every_service_uses_tls(service) -> None:
    configured = json.dumps([service.get("command"), service.get("environment")])
    assert "--tls=/etc/deepmath/tls" in configured or "DEEPMATH_TLS" in configured
    assert "insecure" not in configured.lower()


def test_executors_drain_as_long_as_in_a_cluster(kustomize_command) -> None:
    (deployment,) = of_kind(render("cpu-demo"), "Deployment")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    (drain,) = (argument for argument in arguments if argument.startswith("--drain-seconds="))
    assert drain in COMPOSE["services"]["executor"]["command"]


def test_docker_compose_accepts_the_file() -> None:
    answers = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], capture_output=True, check=False
    )
    if not answers or answers.returncode != 0:
        pytest.skip("docker compose is not installed")
    read = subprocess.run(
        ["docker", "compose", "--profile", "train", "--profile", "gateway", "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert read.returncode == 0, read.stderr
