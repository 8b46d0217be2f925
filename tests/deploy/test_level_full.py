"""The component level-full: the second seccomp profile, a user namespace, and the level required."""

import json

import pytest

from .manifests import OVERLAYS, ROOT, Pod, of_kind, pods, render, render_cluster

PROFILES = ("executor.json", "executor-full.json")


def executor(*rendering: str) -> Pod:
    (found,) = (pod for pod in pods(render(*rendering)) if pod.component == "executor")
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_executors_require_level_full_under_its_profile_in_a_user_namespace(kustomize_command, overlay: str) -> None:
    before, after = executor(overlay), executor(overlay, "level-full")
    (container,) = after.spec["containers"]
    assert after.spec["hostUsers"] is False
    assert container["securityContext"]["seccompProfile"] == {
        "type": "Localhost",
        "localhostProfile": "deepmath/executor-full.json",
    }
    changed = set(container["args"]) ^ set(before.spec["containers"][0]["args"])
    assert changed == {"--require=full", "--require=pod"}


def test_both_profiles_are_installed_on_the_nodes(kustomize_command) -> None:
    (config,) = (one for one in of_kind(render_cluster(), "ConfigMap") if set(PROFILES) & set(one["data"]))
    for name in PROFILES:
        assert json.loads(config["data"][name]) == json.loads((ROOT / "deploy/seccomp" / name).read_text())
    (installer,) = (pod for pod in pods(render_cluster()) if pod.component == "seccomp-installer")
    (install,) = installer.spec["initContainers"]
    assert {f"/profiles/{name}" for name in PROFILES} <= set(install["command"])
    assert "--target-directory=/seccomp/deepmath" in install["command"]
