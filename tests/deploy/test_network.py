"""Reachability under the network policies of each rendering, evaluated pod by pod as the API defines it."""

import ipaddress

import pytest

from .manifests import OVERLAYS, Manifest, Pod, of_kind, pods, render

INTERNET = ipaddress.IPv4Address("1.1.1.1")
METADATA = ipaddress.IPv4Address("169.254.169.254")  # serves credentials in clouds
CLUSTER = ipaddress.IPv4Address("10.0.0.1")
DNS = Pod("Deployment", "dns", "kube-system", {"k8s-app": "kube-dns"}, {})
PROMETHEUS = Pod("StatefulSet", "prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}, {})
COLLECTOR = Pod("Deployment", "collector", "observability", {"app.kubernetes.io/name": "opentelemetry-collector"}, {})
CLIENT = Pod("Pod", "client", "deepmath", {"deepmath/client": "generator"}, {})
GATEWAY_CLIENT = Pod("Pod", "gateway-client", "deepmath", {"deepmath/client": "gateway"}, {})
STRANGER = Pod("Pod", "stranger", "deepmath", {"app": "stranger"}, {})
OUTSIDER = Pod("Pod", "outsider", "default", {"app.kubernetes.io/instance": "generator"}, {})
PORTS = (53, 443, 4317, 6379, *range(7301, 7305), *range(7311, 7315), *range(9301, 9305), 10250)

Peer = Pod | ipaddress.IPv4Address


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )


def matches(peer: Manifest, other: Peer, namespace: str) -> bool:
    if "ipBlock" in peer:
        if isinstance(other, Pod):
            return False
        block = peer["ipBlock"]
        inside = [ipaddress.ip_network(text) for text in (block["cidr"], *block.get("except", []))]
        return other in inside[0] and not any(other in network for network in inside[1:])
    if not isinstance(other, Pod):
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
            return False
    elif other.namespace != namespace:
        return False
    return selects(peer.get("podSelector", {}), other.labels)


def allows(policies: list[Manifest], pod: Pod, other: Peer, port: int, direction: str) -> bool:
    """Return whether the policies of `pod` allow traffic on `port` from ("ingress") or to ("egress") `other`."""
    selected = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and selects(policy["spec"]["podSelector"], pod.labels)
        and direction.capitalize() in policy["spec"]["policyTypes"]
    ]
    peers = "from" if direction == "ingress" else "to"
    return not selected or any(
        (not rule.get("ports") or port in [entry["port"] for entry in rule["ports"]])
        and (not rule.get(peers) or any(matches(peer, other, pod.namespace) for peer in rule[peers]))
        for policy in selected
        for rule in policy["spec"].get(direction, [])
    )


def reaches(policies: list[Manifest], source: Pod, target: Pod, port: int) -> bool:
    return allows(policies, source, target, port, "egress") and allows(policies, target, source, port, "ingress")


@pytest.fixture
def policies(cell) -> list[Manifest]:
    return of_kind(cell, "NetworkPolicy")


@pytest.fixture
def by_component(cell) -> dict[str, list[Pod]]:
    """The pods of each component."""
    found: dict[str, list[Pod]] = {}
    for pod in pods(cell):
        found.setdefault(pod.component, []).append(pod)
    return found


def reached(policies: list[Manifest], source: Pod, all_pods: list[Pod]) -> set[tuple[str, int]]:
    return {
        (target.labels.get("app.kubernetes.io/component") or target.name, port)
        for target in [*all_pods, DNS, PROMETHEUS, STRANGER]
        for port in PORTS
        if target is not source and reaches(policies, source, target, port)
    }


def test_every_pod_is_denied_by_default_in_both_directions(manifests) -> None:
    policies = of_kind(manifests, "NetworkPolicy")
    for pod in pods(manifests):
        for direction in ("Ingress", "Egress"):
            assert any(
                policy["metadata"]["namespace"] == pod.namespace
                and policy["spec"]["podSelector"] == {}
                and direction in policy["spec"]["policyTypes"]
                and not policy["spec"].get(direction.lower())
                for policy in policies
            ), f"{pod}: {direction}"


def test_executors_reach_nothing(policies, by_component) -> None:
    all_pods = [pod for found in by_component.values() for pod in found]
    for executor in by_component["executor"]:
        assert reached(policies, executor, [*all_pods, CLIENT, COLLECTOR]) == set()
        for address in (INTERNET, METADATA, CLUSTER):
            assert not any(allows(policies, executor, address, port, "egress") for port in PORTS)


def test_executors_accept_generators_and_gateways_only(policies, by_component) -> None:
    (executor,) = by_component["executor"]
    others = [
        *by_component["trainer"],
        *by_component.get("models", []),
        CLIENT,
        GATEWAY_CLIENT,
        STRANGER,
        OUTSIDER,
        DNS,
        INTERNET,
        CLUSTER,
    ]
    for port in PORTS:
        assert not any(allows(policies, executor, other, port, "ingress") for other in others)
    callers = [*by_component["generator"], *by_component.get("gateway", [])]
    assert all(reaches(policies, caller, executor, 7301) for caller in callers)


def test_generators_reach_only_executors_and_dns(policies, by_component) -> None:
    all_pods = [pod for found in by_component.values() for pod in found]
    for generator in by_component["generator"]:
        found = reached(policies, generator, all_pods)
        assert {target for target in found if target[0] != "generator"} == {("executor", 7301), ("dns", 53)}
        for address in (INTERNET, METADATA, CLUSTER):
            assert not any(allows(policies, generator, address, port, "egress") for port in PORTS)


def test_trainers_reach_only_generators_and_dns(policies, by_component) -> None:
    all_pods = [pod for found in by_component.values() for pod in found]
    for trainer in by_component["trainer"]:
        found = reached(policies, trainer, all_pods)
        assert {target for target in found if target[0] != "trainer"} == {("generator", 7302), ("dns", 53)}
        for address in (INTERNET, METADATA, CLUSTER):
            assert not any(allows(policies, trainer, address, port, "egress") for port in PORTS)


def test_labelled_clients_reach_only_generators_and_dns(policies, by_component) -> None:
    assert all(reaches(policies, CLIENT, generator, 7302) for generator in by_component["generator"])
    all_pods = [pod for found in by_component.values() for pod in found]
    found = reached(policies, CLIENT, [*all_pods, COLLECTOR])
    trainer_service = {("trainer", 7303) for trainer in by_component["trainer"] if trainer.kind == "StatefulSet"}
    assert found == {("generator", 7302), ("dns", 53)} | trainer_service
    for address in (INTERNET, METADATA, CLUSTER):
        assert not any(allows(policies, CLIENT, address, port, "egress") for port in PORTS)


def test_clients_accept_no_connections(policies, by_component) -> None:
    all_pods = [*(pod for found in by_component.values() for pod in found), STRANGER, OUTSIDER, PROMETHEUS]
    assert not any(reaches(policies, other, CLIENT, port) for other in all_pods for port in PORTS)


def test_generators_reject_strangers(policies, by_component) -> None:
    for generator in by_component["generator"]:
        assert not any(allows(policies, generator, STRANGER, port, "ingress") for port in PORTS)
        assert not any(allows(policies, generator, OUTSIDER, port, "ingress") for port in PORTS)


def test_downloads_reach_the_internet_over_https_and_nothing_in_the_cluster(kustomize_command) -> None:
    policies = of_kind(render("gpu"), "NetworkPolicy")
    (models,) = (pod for pod in pods(render("gpu")) if pod.component == "models")
    assert [port for port in PORTS if allows(policies, models, INTERNET, port, "egress")] == [443]
    for address in (METADATA, CLUSTER):
        assert not any(allows(policies, models, address, port, "egress") for port in PORTS)


def test_prometheus_reaches_only_the_metrics_ports(kustomize_command) -> None:
    policies = of_kind(render("cpu-demo", "monitoring"), "NetworkPolicy")
    for pod in pods(render("cpu-demo", "monitoring")):
        ports = {port for port in PORTS if allows(policies, pod, PROMETHEUS, port, "ingress")}
        assert ports == {9301, 9302, 9303, 9304}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_gateway_accepts_its_clients_and_reaches_the_services(kustomize_command, overlay: str) -> None:
    manifests = render(overlay, "gateway")
    policies, all_pods = of_kind(manifests, "NetworkPolicy"), pods(manifests)
    (gateway,) = (pod for pod in all_pods if pod.component == "gateway")
    assert {port for port in PORTS if allows(policies, gateway, GATEWAY_CLIENT, port, "ingress")} == {7304}
    others: list[Peer] = [CLIENT, STRANGER, OUTSIDER, INTERNET, *(pod for pod in all_pods if pod is not gateway)]
    for other in others:
        assert not any(allows(policies, gateway, other, port, "ingress") for port in PORTS)
    assert reached(policies, gateway, all_pods) == {("generator", 7302), ("executor", 7301), ("dns", 53)}
    assert reached(policies, GATEWAY_CLIENT, all_pods) == {("gateway", 7304), ("dns", 53)}
    for address in (INTERNET, METADATA, CLUSTER):
        assert not any(allows(policies, gateway, address, port, "egress") for port in PORTS)


def test_trainer_service_accepts_clients_only(kustomize_command) -> None:
    policies = of_kind(render("cpu-demo", "trainer-service"), "NetworkPolicy")
    (trainer,) = (p for p in pods(render("cpu-demo", "trainer-service")) if p.component == "trainer")
    assert {port for port in PORTS if allows(policies, trainer, CLIENT, port, "ingress")} == {7303}
    assert reaches(policies, CLIENT, trainer, 7303)
    assert not any(allows(policies, trainer, STRANGER, port, "ingress") for port in PORTS)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize(
    ("components", "exporting"), [([], set()), (["tracing", "gateway"], {"generator", "trainer", "gateway"})]
)
def test_only_services_but_executors_export_spans_with_the_component_tracing(
    kustomize_command, overlay: str, components: list[str], exporting: set[str]
) -> None:
    manifests = render(overlay, *components)
    policies = of_kind(manifests, "NetworkPolicy")
    for pod in pods(manifests):
        ports = {port for port in PORTS if reaches(policies, pod, COLLECTOR, port)}
        assert ports == ({4317} if pod.component in exporting else set()), pod
