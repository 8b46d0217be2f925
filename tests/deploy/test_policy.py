"""What every pod of every rendering may and may not: the properties that an executor's isolation, and ours, rest on."""

import json
import re

import pytest
from deepmath_executor.config import ExecutorConfig
from deepmath_generator.config import GeneratorConfig
from deepmath_trainer.config import TrainerServiceConfig

from .manifests import ROOT, Manifest, Pod, of_kind, pods, render

# Puts the profile on the nodes, and is apart for it: a namespace of its own, root without capabilities, one folder.
INSTALLER = "seccomp-installer"
SERVICES = {"executor": 7301, "generator": 7302, "trainer": 7303}
HEALTH = {"executor": 7311, "generator": 7312, "trainer": 7313}
# Processes that no service answers for: a node of Ray, a machine that accelerate joins, a download.
BEHIND = {"ray", "model", "problems", "test-problems"}
WRITABLE = {"emptyDir", "persistentVolumeClaim"}
CONFIGURATIONS = {"EXECUTOR": ExecutorConfig, "GENERATOR": GeneratorConfig, "TRAINER": TrainerServiceConfig}
# Settings that are the same for all services.
COMMON = {"tls", "tokens", "token_file", "health_listen", "metrics_listen", "log_format", "otlp"}


@pytest.fixture
def ours(manifests) -> list[Pod]:
    """All pods but the installer's."""
    found = [pod for pod in pods(manifests) if pod.component != INSTALLER]
    assert {pod.component for pod in found} >= set(SERVICES)
    return found


def failing(found: list[Pod], holds) -> list[str]:
    """The containers of which `holds` does not."""
    return [f"{pod}:{container['name']}" for pod in found for container in pod.containers if not holds(pod, container)]


def test_nothing_runs_as_root(ours) -> None:
    def holds(pod: Pod, container: Manifest) -> bool:
        user = container["securityContext"].get("runAsUser", pod.spec["securityContext"]["runAsUser"])
        return container["securityContext"]["runAsNonRoot"] is True and user > 0

    assert failing(ours, holds) == []
    assert all(pod.spec["securityContext"]["runAsNonRoot"] for pod in ours)


def test_root_is_read_only(manifests) -> None:
    assert failing(pods(manifests), lambda _, c: c["securityContext"]["readOnlyRootFilesystem"] is True) == []


def test_no_privilege_is_had_or_gained(manifests) -> None:
    def holds(_, container: Manifest) -> bool:
        security = container["securityContext"]
        return (
            security["allowPrivilegeEscalation"] is False
            and security["privileged"] is False
            and security["capabilities"] == {"drop": ["ALL"]}
            and "procMount" not in security
        )

    assert failing(pods(manifests), holds) == []


def test_executors_run_under_our_profile_and_all_others_under_the_runtimes(manifests) -> None:
    for pod in pods(manifests):
        for container in pod.containers:
            profile = (
                container["securityContext"].get("seccompProfile") or pod.spec["securityContext"]["seccompProfile"]
            )
            if pod.component == "executor":
                assert profile == {"type": "Localhost", "localhostProfile": "deepmath/executor.json"}, pod
            else:
                assert profile == {"type": "RuntimeDefault"}, pod


def test_no_pod_has_a_token_of_the_cluster(manifests) -> None:
    assert [str(pod) for pod in pods(manifests) if pod.spec.get("automountServiceAccountToken") is not False] == []
    accounts = {(a["metadata"]["namespace"], a["metadata"]["name"]): a for a in of_kind(manifests, "ServiceAccount")}
    for pod in pods(manifests):
        assert accounts[pod.namespace, pod.spec["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert of_kind(manifests, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding") == []


def test_no_pod_shares_anything_with_its_node(manifests) -> None:
    shared = {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}
    assert [str(pod) for pod in pods(manifests) if any(pod.spec.get(key) for key in shared)] == []
    assert failing(pods(manifests), lambda _, c: all("hostPort" not in port for port in c.get("ports", []))) == []


def test_only_the_installer_mounts_a_folder_of_the_node_and_it_is_that_of_the_profiles(manifests) -> None:
    mounted = {
        (pod.component, volume["hostPath"]["path"])
        for pod in pods(manifests)
        for volume in pod.spec.get("volumes", [])
        if "hostPath" in volume
    }
    assert mounted <= {(INSTALLER, "/var/lib/kubelet/seccomp")}


def test_installer_is_apart(kustomize_command) -> None:
    manifests = render("cpu-demo", INSTALLER)
    (installer,) = (pod for pod in pods(manifests) if pod.component == INSTALLER)
    assert installer.namespace not in {pod.namespace for pod in pods(manifests) if pod.component != INSTALLER}
    (container,) = installer.spec["containers"]
    assert container["securityContext"]["runAsUser"] > 0
    assert "volumeMounts" not in container


def test_installed_profile_is_the_one_that_is_tested(kustomize_command) -> None:
    (profiles,) = of_kind(
        [m for m in render("cpu-demo", INSTALLER) if m["metadata"].get("namespace") == "deepmath-nodes"], "ConfigMap"
    )
    assert json.loads(profiles["data"]["executor.json"]) == json.loads(
        (ROOT / "deploy/seccomp/executor.json").read_text()
    )


def test_images_are_pinned_to_a_version(manifests) -> None:
    pinned = re.compile(r"[a-z0-9./-]+:[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.-]+)?")
    assert failing(pods(manifests), lambda _, c: pinned.fullmatch(c["image"])) == []


def test_versions_of_images_are_those_of_this_checkout(manifests) -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert failing(pods(manifests), lambda _, c: c["image"].rpartition(":")[2].startswith(version)) == []


def test_resources_are_bounded_and_guaranteed(manifests) -> None:
    def holds(_, container: Manifest) -> bool:
        resources = container["resources"]
        return {"cpu", "memory"} <= set(resources["limits"]) and resources["requests"] == resources["limits"]

    assert failing(pods(manifests), holds) == []


def test_volumes_that_can_be_written_to_are_bounded(manifests) -> None:
    for pod in pods(manifests):
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume:
                assert volume["emptyDir"].get("sizeLimit"), f"{pod}: {volume['name']}"


def test_executors_can_write_nowhere(manifests) -> None:
    for pod in pods(manifests):
        if pod.component == "executor":
            assert [volume for volume in pod.spec["volumes"] if WRITABLE & set(volume)] == []


def test_secrets_are_read_only_and_not_for_everybody(manifests) -> None:
    for pod in pods(manifests):
        secrets = {volume["name"]: volume["secret"] for volume in pod.spec.get("volumes", []) if "secret" in volume}
        assert all(secret["defaultMode"] & 0o007 == 0 for secret in secrets.values()), pod
        for container in pod.containers:
            mounts = [mount for mount in container.get("volumeMounts", []) if mount["name"] in secrets]
            assert all(mount["readOnly"] for mount in mounts), pod


def test_services_are_probed_by_grpc_on_the_port_of_health(ours) -> None:
    for pod in ours:
        for container in pod.containers:
            if container["name"] in BEHIND or container["command" if "command" in container else "args"][0] == "python":
                continue
            probes = [container[f"{when}Probe"] for when in ("startup", "liveness")]
            if pod.kind != "Job" and pod.component != "trainer":
                probes.append(container["readinessProbe"])
            assert {probe["grpc"]["port"] for probe in probes} == {HEALTH[pod.component]}, pod


def test_startup_probes_allow_for_loading(ours) -> None:
    """A model is loaded for a minute on a processor, for many on a GPU."""
    for pod in ours:
        for container in pod.containers:
            if pod.component == "generator" and container["name"] == "generator":
                probe = container["startupProbe"]
                gpu = "nvidia.com/gpu" in container["resources"]["limits"]
                assert probe["periodSeconds"] * probe["failureThreshold"] >= (1800 if gpu else 300), pod


def test_grace_covers_draining(ours) -> None:
    for pod in ours:
        for container in pod.containers:
            drain = [a.partition("=")[2] for a in container.get("args", []) if a.startswith("--drain-seconds=")]
            if drain:
                waited = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                assert waited > 0
                assert waited + float(drain[0]) < pod.spec["terminationGracePeriodSeconds"], pod


def test_services_serve_mutual_tls_from_files(ours) -> None:
    for pod in ours:
        for container in pod.containers:
            said = " ".join(container.get("args", []))
            told = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
            assert "--insecure" not in said
            assert not any("INSECURE" in name for name in told)
            if "--listen=" in said:
                assert "--tls=/etc/deepmath/tls" in said, pod
            elif pod.component == "trainer":
                assert told["DEEPMATH_TLS"] == "/etc/deepmath/tls", pod
            else:
                continue
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
            assert volumes[mounts["/etc/deepmath/tls"]]["secret"]["secretName"] == f"{pod.component}-tls"


@pytest.mark.parametrize("overlay", ["cpu-demo", "gpu", "multi-node"])
def test_tokens_are_asked_for_by_every_server_and_had_by_every_caller(kustomize_command, overlay: str) -> None:
    for pod in pods(render(overlay, "tokens")):
        for container in pod.containers:
            said = " ".join(container.get("args", []))
            told = {variable["name"] for variable in container.get("env", [])}
            if "--listen=" in said:
                assert "--tokens=" in said, pod
            if pod.component == "generator" and "--listen=" in said:
                assert "--token-file=" in said, pod
            if pod.component == "trainer":
                assert "DEEPMATH_TOKEN_FILE" in told, pod


def test_environment_holds_no_secret(manifests) -> None:
    held = re.compile("token$|password|secret|key$", re.IGNORECASE)
    for pod in pods(manifests):
        for container in pod.containers:
            assert [v["name"] for v in container.get("env", []) if held.search(v["name"]) and "value" in v] == []
    for config in of_kind(manifests, "ConfigMap"):
        assert [key for key in config.get("data", {}) if held.search(key)] == []
    assert of_kind(manifests, "Secret") == []


def test_settings_are_ones_that_the_services_know(manifests) -> None:
    names = [key for config in of_kind(manifests, "ConfigMap") for key in config["data"]]
    names += [
        variable["name"]
        for pod in pods(manifests)
        for container in pod.containers
        for variable in container.get("env", [])
    ]
    assert any(name.startswith("DEEPMATH_") for name in names)
    for name in names:
        if found := re.fullmatch("DEEPMATH_(EXECUTOR|GENERATOR|TRAINER)_(.*)", name):
            assert found[2].lower() in {*CONFIGURATIONS[found[1]].model_fields, *COMMON}, name


def test_arguments_are_ones_that_the_services_know(ours) -> None:
    for pod in ours:
        for container in pod.containers:
            said = [argument for argument in container.get("args", []) if argument.startswith("--")]
            if any(argument.startswith("--listen=") for argument in said):
                known = {*CONFIGURATIONS[pod.component.upper()].model_fields, *COMMON}
                flags = {argument[2:].partition("=")[0].replace("-", "_") for argument in said}
                assert flags <= known, pod


def test_namespace_enforces_the_restricted_standard(manifests) -> None:
    for namespace in of_kind(manifests, "Namespace"):
        if namespace["metadata"]["name"] == "deepmath":
            assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_services_that_stay_have_a_disruption_budget(manifests) -> None:
    budgets = [budget["spec"]["selector"]["matchLabels"] for budget in of_kind(manifests, "PodDisruptionBudget")]
    for pod in pods(manifests):
        if pod.component in {"executor", "generator"}:
            assert any(labels.items() <= pod.labels.items() for labels in budgets), pod


def test_name_of_each_service_is_in_its_certificate(kustomize_command) -> None:
    manifests = render("cpu-demo", "cert-manager", "trainer-service")
    certificates = {c["metadata"]["name"]: c["spec"] for c in of_kind(manifests, "Certificate")}
    services = of_kind(manifests, "Service")
    assert {service["metadata"]["name"] for service in services} == set(SERVICES)
    for service in services:
        name = service["metadata"]["name"]
        assert f"{name}.deepmath.svc" in certificates[name]["dnsNames"]
        assert service["spec"]["clusterIP"] == "None"
        assert [port["port"] for port in service["spec"]["ports"]] == [SERVICES[name]]
    assert "*.generator.deepmath.svc" in certificates["generator"]["dnsNames"]
