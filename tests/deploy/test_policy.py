"""Security and operational properties of every pod in every rendering."""

import json
import re

import pytest
from deepmath_executor.config import ExecutorConfig
from deepmath_gateway.config import GatewayConfig
from deepmath_generator.config import GeneratorConfig
from deepmath_trainer.config import TrainerServiceConfig

from deepmath.serving.service_config import ServiceConfig

from .manifests import ROOT, Manifest, Pod, of_kind, pods, render_cluster

# Installs the profile on the nodes: separate namespace, root without capabilities, one folder.
INSTALLER = "seccomp-installer"
SERVICES = {"executor": 7301, "generator": 7302, "trainer": 7303}
HEALTH = {"executor": 7311, "generator": 7312, "trainer": 7313, "gateway": 7314}
# Containers that run no service: a Ray worker, downloads, copies, pods for people.
AUXILIARY = {"ray", "model", "problems", "test-problems", "copy", "archive", "client", "results"}
WRITABLE = {"emptyDir", "persistentVolumeClaim"}
CONFIGURATIONS: dict[str, type[ServiceConfig]] = {
    "EXECUTOR": ExecutorConfig,
    "GENERATOR": GeneratorConfig,
    "TRAINER": TrainerServiceConfig,
    "GATEWAY": GatewayConfig,
}
# Settings of all services.
COMMON = {"tls", "tokens", "token_file", "health_listen", "metrics_listen", "log_format", "otlp"}


@pytest.fixture
def service_pods(cell) -> list[Pod]:
    """The pods of a cell."""
    found = pods(cell)
    assert {pod.component for pod in found} >= set(SERVICES)
    return found


def failing(found: list[Pod], holds) -> list[str]:
    """Return the containers that violate `holds`."""
    return [f"{pod}:{container['name']}" for pod in found for container in pod.containers if not holds(pod, container)]


def test_nothing_runs_as_root(service_pods) -> None:
    def holds(pod: Pod, container: Manifest) -> bool:
        user = container["securityContext"].get("runAsUser", pod.spec["securityContext"]["runAsUser"])
        return container["securityContext"]["runAsNonRoot"] is True and user > 0

    assert failing(service_pods, holds) == []
    assert all(pod.spec["securityContext"]["runAsNonRoot"] for pod in service_pods)


def test_root_file_system_is_read_only(manifests) -> None:
    assert failing(pods(manifests), lambda _, c: c["securityContext"]["readOnlyRootFilesystem"] is True) == []


def test_no_container_has_or_gains_privileges(manifests) -> None:
    def holds(_, container: Manifest) -> bool:
        security = container["securityContext"]
        return (
            security["allowPrivilegeEscalation"] is False
            and security["privileged"] is False
            and security["capabilities"] == {"drop": ["ALL"]}
            and "procMount" not in security
        )

    assert failing(pods(manifests), holds) == []


def test_executors_use_our_seccomp_profile_and_other_pods_the_runtime_default(manifests) -> None:
    for pod in pods(manifests):
        for container in pod.containers:
            profile = (
                container["securityContext"].get("seccompProfile") or pod.spec["securityContext"]["seccompProfile"]
            )
            if pod.component == "executor":
                level = "-full" if "--require=full" in container["args"] else ""
                assert profile == {"type": "Localhost", "localhostProfile": f"deepmath/executor{level}.json"}, pod
            else:
                assert profile == {"type": "RuntimeDefault"}, pod


def test_no_pod_mounts_a_service_account_token(manifests) -> None:
    assert [str(pod) for pod in pods(manifests) if pod.spec.get("automountServiceAccountToken") is not False] == []
    accounts = {(a["metadata"]["namespace"], a["metadata"]["name"]): a for a in of_kind(manifests, "ServiceAccount")}
    for pod in pods(manifests):
        assert accounts[pod.namespace, pod.spec["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert of_kind(manifests, "ClusterRole", "RoleBinding", "ClusterRoleBinding") == []


def test_roles_for_people_allow_commands_in_one_named_pod(manifests) -> None:
    for role in of_kind(manifests, "Role"):
        pod = role["metadata"]["name"]
        assert {resource for rule in role["rules"] for resource in rule["resources"]} == {"pods", "pods/exec"}
        assert all(rule["resourceNames"] == [pod] and rule["apiGroups"] == [""] for rule in role["rules"])
        assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "create"}
        assert [other.kind for other in pods(manifests) if other.name == pod] == ["Pod"]


def test_no_pod_shares_a_namespace_with_its_node(manifests) -> None:
    shared = {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}
    assert [str(pod) for pod in pods(manifests) if any(pod.spec.get(key) for key in shared)] == []
    assert failing(pods(manifests), lambda _, c: all("hostPort" not in port for port in c.get("ports", []))) == []


def test_only_the_installer_mounts_a_folder_of_the_node_the_seccomp_profiles(manifests) -> None:
    mounted = {
        (pod.component, volume["hostPath"]["path"])
        for pod in pods(manifests)
        for volume in pod.spec.get("volumes", [])
        if "hostPath" in volume
    }
    assert mounted <= {(INSTALLER, "/var/lib/kubelet/seccomp")}


def test_installer_has_its_own_namespace_which_is_not_that_of_a_cell(kustomize_command) -> None:
    (installer,) = pods(render_cluster())
    (container,) = installer.spec["containers"]
    assert installer.component == INSTALLER
    assert installer.namespace == "deepmath-nodes"
    assert container["securityContext"]["runAsUser"] > 0
    assert "volumeMounts" not in container


def test_installed_profiles_equal_the_tested_ones(kustomize_command) -> None:
    (profiles,) = of_kind(render_cluster(), "ConfigMap")
    for name, profile in profiles["data"].items():
        assert json.loads(profile) == json.loads((ROOT / "deploy/seccomp" / name).read_text())


def test_images_are_pinned_to_a_version(manifests) -> None:
    pinned = re.compile(r"([a-z0-9.-]+:[0-9]+/)?[a-z0-9./-]+:[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.-]+)?")
    assert failing(pods(manifests), lambda _, c: pinned.fullmatch(c["image"])) == []


def test_image_versions_equal_the_version_of_the_checkout(manifests) -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert failing(pods(manifests), lambda _, c: c["image"].rpartition(":")[2].startswith(version[1])) == []


def test_resource_requests_equal_limits(manifests) -> None:
    def holds(_, container: Manifest) -> bool:
        resources = container["resources"]
        return {"cpu", "memory"} <= set(resources["limits"]) and resources["requests"] == resources["limits"]

    assert failing(pods(manifests), holds) == []


def test_writable_volumes_have_a_size_limit(manifests) -> None:
    for pod in pods(manifests):
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume:
                assert volume["emptyDir"].get("sizeLimit"), f"{pod}: {volume['name']}"


def test_executors_have_no_writable_volume(manifests) -> None:
    for pod in pods(manifests):
        if pod.component == "executor":
            assert [volume for volume in pod.spec["volumes"] if WRITABLE & set(volume)] == []


def test_secrets_are_read_only_and_not_world_readable(manifests) -> None:
    for pod in pods(manifests):
        secrets = {volume["name"]: volume["secret"] for volume in pod.spec.get("volumes", []) if "secret" in volume}
        assert all(secret["defaultMode"] & 0o007 == 0 for secret in secrets.values()), pod
        for container in pod.containers:
            mounts = [mount for mount in container.get("volumeMounts", []) if mount["name"] in secrets]
            assert all(mount["readOnly"] for mount in mounts), pod


def test_probes_use_the_health_port_with_the_protocol_of_the_service(service_pods) -> None:
    for pod in service_pods:
        for container in pod.containers:
            if (
                container["name"] in AUXILIARY
                or container["command" if "command" in container else "args"][0] == "python"
            ):
                continue
            probes = [container[f"{when}Probe"] for when in ("startup", "liveness")]
            if pod.kind != "Job" and pod.component != "trainer":
                probes.append(container["readinessProbe"])
            kind = "httpGet" if pod.component == "gateway" else "grpc"
            assert {probe[kind]["port"] for probe in probes} == {HEALTH[pod.component]}, pod


def test_startup_probes_allow_time_to_load_a_model(service_pods) -> None:
    """Loading a model takes a minute on CPUs and many minutes on GPUs."""
    for pod in service_pods:
        for container in pod.containers:
            if pod.component == "generator" and container["name"] == "generator":
                probe = container["startupProbe"]
                gpu = "nvidia.com/gpu" in container["resources"]["limits"]
                assert probe["periodSeconds"] * probe["failureThreshold"] >= (1800 if gpu else 300), pod


def test_grace_period_covers_draining(service_pods) -> None:
    for pod in service_pods:
        for container in pod.containers:
            drain = [a.partition("=")[2] for a in container.get("args", []) if a.startswith("--drain-seconds=")]
            if drain:
                pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                assert pre_stop > 0
                assert pre_stop + float(drain[0]) < pod.spec["terminationGracePeriodSeconds"], pod


def test_services_serve_mutual_tls_from_files(service_pods) -> None:
    for pod in service_pods:
        for container in pod.containers:
            arguments = " ".join(container.get("args", []))
            variables = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
            assert "--insecure" not in arguments
            assert not any("INSECURE" in name for name in variables)
            if "--listen=" in arguments:
                assert "--tls=/etc/deepmath/tls" in arguments, pod
            elif pod.component == "trainer":
                assert variables["DEEPMATH_TLS"] == "/etc/deepmath/tls", pod
            else:
                continue
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
            assert volumes[mounts["/etc/deepmath/tls"]]["secret"]["secretName"] == f"{pod.component}-tls"


def test_environment_contains_no_secret(manifests) -> None:
    secret = re.compile("token$|password|secret|key$", re.IGNORECASE)
    for pod in pods(manifests):
        for container in pod.containers:
            assert [v["name"] for v in container.get("env", []) if secret.search(v["name"]) and "value" in v] == []
    for config in of_kind(manifests, "ConfigMap"):
        assert [key for key in config.get("data", {}) if secret.search(key)] == []
    assert of_kind(manifests, "Secret") == []


def test_environment_variables_are_known_settings(cell) -> None:
    names = [key for config in of_kind(cell, "ConfigMap") for key in config.get("data", {})]
    names += [
        variable["name"] for pod in pods(cell) for container in pod.containers for variable in container.get("env", [])
    ]
    assert any(name.startswith("DEEPMATH_") for name in names)
    for name in names:
        if found := re.fullmatch("DEEPMATH_(EXECUTOR|GENERATOR|TRAINER|GATEWAY)_(.*)", name):
            assert found[2].lower() in {*CONFIGURATIONS[found[1]].model_fields, *COMMON}, name


def test_arguments_are_known_flags(service_pods) -> None:
    for pod in service_pods:
        for container in pod.containers:
            flags = [argument for argument in container.get("args", []) if argument.startswith("--")]
            if any(argument.startswith("--listen=") for argument in flags):
                known = {*CONFIGURATIONS[pod.component.upper()].model_fields, *COMMON}
                names = {flag[2:].partition("=")[0].replace("-", "_") for flag in flags}
                assert names <= known, pod


def test_namespace_enforces_the_restricted_pod_security_standard(cell) -> None:
    for namespace in of_kind(cell, "Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_long_running_services_have_a_disruption_budget(manifests) -> None:
    budgets = [budget["spec"]["selector"]["matchLabels"] for budget in of_kind(manifests, "PodDisruptionBudget")]
    for pod in pods(manifests):
        if pod.component in {"executor", "generator", "gateway"}:
            assert any(labels.items() <= pod.labels.items() for labels in budgets), pod
