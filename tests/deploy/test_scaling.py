"""The metrics that scale executors, and the numbers that go together: sessions, trajectories and memory."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from deepmath_executor.config import ExecutorConfig
from deepmath_generator.config import GeneratorConfig

from benchmarks.fleet_size import PLACES_PER_TRAJECTORY
from deepmath.sandbox.isolation.memory_gauge import MemoryGauge
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget

from .manifests import OVERLAYS, ROOT, Manifest, of_kind, render

SESSION_BYTES = 8 << 20  # of one that has used sympy: docs/scaling.md
SCALERS = ("hpa", "hpa-queue", "keda")


def metrics(component: str) -> list[Manifest]:
    (autoscaler,) = of_kind(render("cpu-demo", component), "HorizontalPodAutoscaler")
    return autoscaler["spec"]["metrics"]


def setting(manifests: list[Manifest], service: str, name: str, default: int) -> int:
    """Return a setting of a service: by its ConfigMap, or by default."""
    (config,) = (m for m in of_kind(manifests, "ConfigMap") if re.match(rf"{service}-", m["metadata"]["name"]))
    return int(config["data"].get(f"DEEPMATH_{service.upper()}_{name.upper()}", default))


def default(config: Any, name: str) -> int:
    return int(config.model_fields[name].default)


def sessions_per_executor(manifests: list[Manifest]) -> int:
    return setting(manifests, "executor", "max_sessions", default(ExecutorConfig, "max_sessions"))


def trajectories(manifests: list[Manifest]) -> int:
    """Return the trajectories that all generators of a rendering run at once."""
    slots = setting(manifests, "generator", "max_trajectories", default(GeneratorConfig, "max_trajectories"))
    sets = [m for m in of_kind(manifests, "StatefulSet", "LeaderWorkerSet") if "generator" in m["metadata"]["name"]]
    return slots * sum(one["spec"]["replicas"] for one in sets)


def executor(manifests: list[Manifest]) -> Manifest:
    (found,) = of_kind(manifests, "Deployment")
    return found


def bounds(manifests: list[Manifest]) -> Iterator[int]:
    """Yield the highest number of executors that an autoscaler of a rendering may set."""
    for one in of_kind(manifests, "HorizontalPodAutoscaler"):
        yield one["spec"]["maxReplicas"]
    for one in of_kind(manifests, "ScaledObject"):
        yield one["spec"]["maxReplicaCount"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_has_a_session_place_and_a_quarter_per_trajectory(kustomize_command, overlay) -> None:
    manifests = render(overlay)
    places = executor(manifests)["spec"]["replicas"] * sessions_per_executor(manifests)
    assert places >= PLACES_PER_TRAJECTORY * trajectories(manifests)


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_scaled_overlay_can_have_as_many(kustomize_command, overlay, scaler) -> None:
    manifests = render(overlay, scaler)
    (most,) = bounds(manifests)
    assert most * sessions_per_executor(manifests) >= PLACES_PER_TRAJECTORY * trajectories(manifests)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_sessions_of_an_executor_fit_into_its_memory_beside_running_snippets(kustomize_command, overlay) -> None:
    manifests = render(overlay)
    (container,) = executor(manifests)["spec"]["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert limits["memory"].endswith("Gi")
    gauge = MemoryGauge(int(limits["memory"][:-2]) << 30)
    memory = MemoryBudget(
        gauge.limit_bytes * 9 // 10, gauge, int(limits["cpu"]), default(ExecutorConfig, "memory_bytes")
    )
    assert memory.fitting_slots() == int(limits["cpu"])
    idle = memory.usable_bytes - memory.reserved_bytes - (256 << 20)  # the service itself
    assert sessions_per_executor(manifests) * SESSION_BYTES <= idle


def test_hpa_scales_by_cpu_and_by_occupancy(kustomize_command) -> None:
    """Sessions that wait for their model use no CPU, and queue nothing."""
    cpu, occupancy = metrics("hpa")
    assert cpu["resource"]["name"] == "cpu"
    assert occupancy["pods"]["metric"]["name"] == "deepmath_executor_occupancy_ratio"
    assert occupancy["pods"]["target"] == {"type": "AverageValue", "averageValue": "800m"}


def test_hpa_queue_adds_queued_snippets(kustomize_command) -> None:
    *others, queue = metrics("hpa-queue")
    assert others == metrics("hpa")
    assert queue["pods"]["metric"]["name"] == "deepmath_executor_queued_snippets"


def test_keda_scales_by_occupancy_and_by_demand(kustomize_command) -> None:
    (scaled,) = of_kind(render("cpu-demo", "keda"), "ScaledObject")
    found = [(t["metadata"]["query"].partition("{")[0], t["metadata"]["threshold"]) for t in scaled["spec"]["triggers"]]
    assert found == [("sum(deepmath_executor_occupancy_ratio", "0.8"), ("sum(deepmath_executor_slot_demand_ratio", "1")]


def test_keda_removes_no_executor_while_prometheus_is_unavailable(kustomize_command) -> None:
    (scaled,) = of_kind(render("cpu-demo", "keda"), "ScaledObject")
    assert scaled["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"


def test_prometheus_adapter_serves_the_metrics_of_the_autoscalers(kustomize_command) -> None:
    adapter = yaml.safe_load((ROOT / "deploy/observability/prometheus-adapter.yaml").read_text())
    (pattern,) = re.findall('__name__=~"(.*?)"', adapter["rules"]["custom"][0]["seriesQuery"])
    for metric in metrics("hpa-queue"):
        if metric["type"] == "Pods":
            assert re.fullmatch(pattern, metric["pods"]["metric"]["name"])


@pytest.mark.parametrize("component", SCALERS)
def test_apply_does_not_reset_the_number_of_executors(kustomize_command, component: str) -> None:
    assert "replicas" not in executor(render("cpu-demo", component))["spec"]


def test_documented_size_of_a_fleet_is_that_of_the_command() -> None:
    command = [sys.executable, "-m", "benchmarks.capacity", "--size"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert f"    {printed[0]}\n" in (ROOT / "docs" / "scaling.md").read_text()
