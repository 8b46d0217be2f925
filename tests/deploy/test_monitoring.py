"""The component `monitoring` equals deploy/observability, scrapes every pod, and its alerts fire on failures only."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .manifests import ROOT, Manifest, kustomize, of_kind, pods, render

OBSERVABILITY = ROOT / "deploy" / "observability"
UNIT_TESTS = Path(__file__).parent / "alert_rules.yaml"
DOCS = (ROOT / "docs/observability.md").read_text()
ALERTS = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())
NAMES = {rule["alert"] for rule in ALERTS["groups"][0]["rules"]}


def rendered() -> list[Manifest]:
    return render("cpu-demo", "monitoring")


def test_alerts_equal_the_file(kustomize_command) -> None:
    (rule,) = of_kind(rendered(), "PrometheusRule")
    assert rule["spec"] == ALERTS


def test_dashboard_equals_the_file_and_is_labelled_for_grafana(kustomize_command) -> None:
    (config,) = (m for m in of_kind(rendered(), "ConfigMap") if m["metadata"]["labels"].get("grafana_dashboard"))
    assert json.loads(config["data"]["deepmath.json"]) == json.loads((OBSERVABILITY / "dashboard.json").read_text())


def test_every_pod_is_scraped_on_a_port_that_it_declares(kustomize_command) -> None:
    monitors = [monitor["spec"] for monitor in of_kind(rendered(), "PodMonitor")]
    for pod in pods(rendered()):
        (monitor,) = (m for m in monitors if m["selector"]["matchLabels"].items() <= pod.labels.items())
        ports = {port["name"] for container in pod.containers for port in container.get("ports", [])}
        assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports, pod


def test_targets_are_running_pods_and_their_job_is_that_of_the_alerts(kustomize_command) -> None:
    """Its default is the namespace's name and the monitor's; a pod that pulls its image is a target by default."""
    (job,) = re.findall('up{job=~"(.*?)"}', json.dumps(ALERTS).replace('\\"', '"'))
    for monitor in of_kind(rendered(), "PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        keep, rename = endpoint["relabelings"]
        assert (keep["sourceLabels"], keep["regex"]) == (["__meta_kubernetes_pod_phase"], "Running")
        assert rename["targetLabel"] == "job"
        assert re.fullmatch(job, rename["replacement"])


def test_prometheus_with_a_selector_finds_the_resources(kustomize_command) -> None:
    resources = of_kind(rendered(), "PodMonitor", "PrometheusRule")
    assert {one["metadata"]["labels"].get("release") for one in resources} == {"prometheus"}
    assert len(resources) == 5


def test_documented_patch_changes_the_label_that_prometheus_selects_by(kustomize_command, tmp_path) -> None:
    (patch,) = re.findall(r"```yaml\n(patches:.*?)```", DOCS, re.DOTALL)
    shutil.copytree(ROOT / "deploy", tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "k8s" / "patched"
    folder.mkdir()
    own = "resources: [../overlays/cpu-demo]\ncomponents: [../components/monitoring]\n"
    (folder / "kustomization.yaml").write_text(own + patch)
    output = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, check=True).stdout
    assert output.count("release: my-release") == 5
    assert "release: prometheus" not in output


def test_each_alert_links_to_its_section() -> None:
    headings = re.findall(r"^#+ (.*)$", DOCS, re.MULTILINE)
    anchors = {f"docs/observability.md#{heading.lower().replace(' ', '-')}" for heading in headings}
    links = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in ALERTS["groups"][0]["rules"]}
    assert set(links.values()) <= anchors
    assert links == {name: f"docs/observability.md#{name.lower()}" for name in NAMES}


@pytest.fixture
def promtool(tmp_path) -> Callable[[Manifest], subprocess.CompletedProcess[str]]:
    """A function that runs the unit tests with rules."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian's package prometheus): the alerts cannot be tested")

    def run(rules: Manifest) -> subprocess.CompletedProcess[str]:
        (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules))
        shutil.copy(UNIT_TESTS, tmp_path)
        command = ["promtool", "test", "rules", UNIT_TESTS.name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def replaced(expression: str) -> Manifest:
    """Return the rules, each with this expression."""
    (group,) = ALERTS["groups"]
    rules = [{"alert": rule["alert"], "expr": expression} for rule in group["rules"]]
    return {"groups": [group | {"rules": rules}]}


def test_alerts_fire_on_their_failures_and_are_silent_otherwise(promtool) -> None:
    ended = promtool(ALERTS)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_alert_has_a_failure_that_it_must_report(promtool) -> None:
    ended = promtool(replaced("vector(1) > 2"))
    assert ended.returncode == 1
    expected = re.findall(r"exp: (.*)", ended.stdout + ended.stderr)
    assert set(re.findall('alertname="(.*?)"', " ".join(expected))) == NAMES


def test_no_alert_may_fire_when_all_is_well(promtool) -> None:
    ended = promtool(replaced("vector(1)"))
    silent = re.findall(r"exp: nil\s+got: (.*)", ended.stdout + ended.stderr)
    assert len(silent) > 20
    assert all(set(re.findall('alertname="(.*?)"', got)) == NAMES for got in silent)
