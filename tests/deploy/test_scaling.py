"""What the number of executors goes by."""

import pytest

from .manifests import Manifest, of_kind, render


def metrics(component: str) -> list[Manifest]:
    (autoscaler,) = of_kind(render("cpu-demo", component), "HorizontalPodAutoscaler")
    return autoscaler["spec"]["metrics"]


def test_without_the_prometheus_adapter_there_is_no_metric_that_needs_it(kustomize_command) -> None:
    """An autoscaler removes no pod while one of its metrics cannot be had."""
    assert [metric["type"] for metric in metrics("hpa")] == ["Resource"]


def test_with_the_adapter_the_queue_counts_beside_the_processor(kustomize_command) -> None:
    processor, queue = metrics("hpa-queue")
    assert [processor] == metrics("hpa")
    assert queue["pods"]["metric"]["name"] == "deepmath_executor_queued_snippets"


@pytest.mark.parametrize("component", ["hpa", "hpa-queue", "keda"])
def test_no_apply_sets_the_number_of_executors_back(kustomize_command, component: str) -> None:
    (executor,) = of_kind(render("cpu-demo", component), "Deployment")
    assert "replicas" not in executor["spec"]
