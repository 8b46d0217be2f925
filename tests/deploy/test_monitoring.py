"""The component `monitoring` equals deploy/observability, and every pod has a metrics port that it scrapes."""

import json

import yaml

from .manifests import ROOT, Manifest, of_kind, pods, render

OBSERVABILITY = ROOT / "deploy" / "observability"


def rendered() -> list[Manifest]:
    return render("cpu-demo", "monitoring")


def test_alerts_equal_the_file(kustomize_command) -> None:
    (rule,) = of_kind(rendered(), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())


def test_dashboard_equals_the_file_and_is_labelled_for_grafana(kustomize_command) -> None:
    (config,) = (m for m in of_kind(rendered(), "ConfigMap") if m["metadata"]["labels"].get("grafana_dashboard"))
    assert json.loads(config["data"]["deepmath.json"]) == json.loads((OBSERVABILITY / "dashboard.json").read_text())


def test_every_pod_is_scraped_on_a_port_that_it_declares(kustomize_command) -> None:
    monitors = [monitor["spec"] for monitor in of_kind(rendered(), "PodMonitor")]
    for pod in pods(rendered()):
        (monitor,) = (m for m in monitors if m["selector"]["matchLabels"].items() <= pod.labels.items())
        ports = {port["name"] for container in pod.containers for port in container.get("ports", [])}
        assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports, pod
