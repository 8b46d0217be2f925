"""The metrics that scale executors."""

import pytest

from .manifests import Manifest, of_kind, render


def metrics(component: str) -> list[Manifest]:
    (autoscaler,) = of_kind(render("cpu-demo", component), "HorizontalPodAutoscaler")
    return autoscaler["spec"]["metrics"]


def test_hpa_uses_no_metric_of_the_prometheus_adapter(kustomize_command) -> None:
    """An autoscaler removes no pod while one of its metrics is unavailable."""
    assert [metric["type"] for metric in metrics("hpa")] == ["Resource"]


def test_hpa_queue_adds_queued_snippets_to_cpu_utilization(kustomize_command) -> None:
    cpu, queue = metrics("hpa-queue")
    assert [cpu] == metrics("hpa")
    assert queue["pods"]["metric"]["name"] == "deepmath_executor_queued_snippets"


@pytest.mark.parametrize("component", ["hpa", "hpa-queue", "keda"])
def test_apply_does_not_reset_the_number_of_executors(kustomize_command, component: str) -> None:
    (executor,) = of_kind(render("cpu-demo", component), "Deployment")
    assert "replicas" not in executor["spec"]
