"""Who reaches whom, as the network policies of a rendering have it: worked out as the API defines it, pod by pod."""

import ipaddress

import pytest

from .manifests import OVERLAYS, Manifest, Pod, of_kind, pods, render

INTERNET = ipaddress.ip_address("1.1.1.1")
METADATA = ipaddress.ip_address("169.254.169.254")  # where clouds give out credentials
CLUSTER = ipaddress.ip_address("10.0.0.1")
DNS = Pod("Deployment", "dns", "kube-system", {"k8s-app": "kube-dns"}, {})
PROMETHEUS = Pod("StatefulSet", "prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}, {})
COLLECTOR = Pod("Deployment", "collector", "observability", {"app.kubernetes.io/name": "opentelemetry-collector"}, {})
CLIENT = Pod("Pod", "client", "deepmath", {"deepmath/client": "true"}, {})
STRANGER = Pod("Pod", "stranger", "deepmath", {"app": "stranger"}, {})
OUTSIDER = Pod("Pod", "outsider", "default", {"app.kubernetes.io/component": "generator"}, {})
PORTS = (53, 443, 4317, 6379, 7301, 7302, 7303, 7311, 7312, 7313, 9301, 9302, 9303, 10250)

Peer = Pod | ipaddress.IPv4Address


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )


def is_meant(peer: Manifest, other: Peer, namespace: str) -> bool:
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


def allows(policies: list[Manifest], pod: Pod, other: Peer, port: int, way: str) -> bool:
    """Whether `pod` may be reached by `other` ("ingress"), or may reach it ("egress"), on `port`."""
    mine = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and selects(policy["spec"]["podSelector"], pod.labels)
        and way.capitalize() in policy["spec"]["policyTypes"]
    ]
    peers = "from" if way == "ingress" else "to"
    return not mine or any(
        (not rule.get("ports") or port in [entry["port"] for entry in rule["ports"]])
        and (not rule.get(peers) or any(is_meant(peer, other, pod.namespace) for peer in rule[peers]))
        for policy in mine
        for rule in policy["spec"].get(way, [])
    )


def reaches(policies: list[Manifest], source: Pod, target: Pod, port: int) -> bool:
    return allows(policies, source, target, port, "egress") and allows(policies, target, source, port, "ingress")


@pytest.fixture
def policies(manifests) -> list[Manifest]:
    return of_kind(manifests, "NetworkPolicy")


@pytest.fixture
def ours(manifests) -> dict[str, list[Pod]]:
    """The pods of each component."""
    found: dict[str, list[Pod]] = {}
    for pod in pods(manifests):
        found.setdefault(pod.component, []).append(pod)
    return found


def reached(policies: list[Manifest], source: Pod, all_pods: list[Pod]) -> set[tuple[str, int]]:
    return {
        (target.labels.get("app.kubernetes.io/component") or target.name, port)
        for target in [*all_pods, DNS, PROMETHEUS, STRANGER]
        for port in PORTS
        if target is not source and reaches(policies, source, target, port)
    }


def test_every_pod_is_under_a_policy_of_both_ways(manifests, policies) -> None:
    for pod in pods(manifests):
        for way in ("Ingress", "Egress"):
            assert any(
                policy["metadata"]["namespace"] == pod.namespace
                and policy["spec"]["podSelector"] == {}
                and way in policy["spec"]["policyTypes"]
                and not policy["spec"].get(way.lower())
                for policy in policies
            ), f"{pod}: {way}"


def test_executors_reach_nothing(policies, ours) -> None:
    everybody = [pod for found in ours.values() for pod in found]
    for executor in ours["executor"]:
        assert reached(policies, executor, [*everybody, CLIENT, COLLECTOR]) == set()
        for address in (INTERNET, METADATA, CLUSTER):
            assert not any(allows(policies, executor, address, port, "egress") for port in PORTS)


def test_executors_are_reached_by_generators_only(policies, ours) -> None:
    (executor,) = ours["executor"]
    others = [*ours["trainer"], *ours.get("models", []), CLIENT, STRANGER, OUTSIDER, DNS, INTERNET, CLUSTER]
    for port in PORTS:
        assert not any(allows(policies, executor, other, port, "ingress") for other in others)
    assert all(reaches(policies, generator, executor, 7301) for generator in ours["generator"])


def test_generators_reach_executors_and_dns_and_no_address(policies, ours) -> None:
    everybody = [pod for found in ours.values() for pod in found]
    for generator in ours["generator"]:
        found = reached(policies, generator, everybody)
        assert {target for target in found if target[0] != "generator"} == {("executor", 7301), ("dns", 53)}
        for address in (INTERNET, METADATA, CLUSTER):
            assert not any(allows(policies, generator, address, port, "egress") for port in PORTS)


def test_trainers_reach_generators_and_dns_and_no_address(policies, ours) -> None:
    everybody = [pod for found in ours.values() for pod in found]
    for trainer in ours["trainer"]:
        found = reached(policies, trainer, everybody)
        assert {target for target in found if target[0] != "trainer"} == {("generator", 7302), ("dns", 53)}
        for address in (INTERNET, METADATA, CLUSTER):
            assert not any(allows(policies, trainer, address, port, "egress") for port in PORTS)


def test_clients_that_say_so_reach_generators_and_dns_and_no_address(policies, ours) -> None:
    assert all(reaches(policies, CLIENT, generator, 7302) for generator in ours["generator"])
    everybody = [pod for found in ours.values() for pod in found]
    found = reached(policies, CLIENT, [*everybody, COLLECTOR])
    standing = {("trainer", 7303) for trainer in ours["trainer"] if trainer.kind == "StatefulSet"}
    assert found == {("generator", 7302), ("dns", 53)} | standing
    for address in (INTERNET, METADATA, CLUSTER):
        assert not any(allows(policies, CLIENT, address, port, "egress") for port in PORTS)


def test_clients_are_reached_by_nobody(policies, ours) -> None:
    everybody = [*(pod for found in ours.values() for pod in found), STRANGER, OUTSIDER, PROMETHEUS]
    assert not any(reaches(policies, other, CLIENT, port) for other in everybody for port in PORTS)


def test_generators_are_not_reached_by_strangers(policies, ours) -> None:
    for generator in ours["generator"]:
        assert not any(allows(policies, generator, STRANGER, port, "ingress") for port in PORTS)
        assert not any(allows(policies, generator, OUTSIDER, port, "ingress") for port in PORTS)


def test_downloads_reach_the_internet_by_https_and_nothing_of_the_cluster(kustomize_command) -> None:
    policies = of_kind(render("gpu"), "NetworkPolicy")
    (models,) = (pod for pod in pods(render("gpu")) if pod.component == "models")
    assert [port for port in PORTS if allows(policies, models, INTERNET, port, "egress")] == [443]
    for address in (METADATA, CLUSTER):
        assert not any(allows(policies, models, address, port, "egress") for port in PORTS)


def test_prometheus_reaches_metrics_where_it_is_let_in_and_nothing_else(kustomize_command) -> None:
    policies = of_kind(render("cpu-demo", "monitoring"), "NetworkPolicy")
    for pod in pods(render("cpu-demo", "monitoring")):
        let_in = {port for port in PORTS if allows(policies, pod, PROMETHEUS, port, "ingress")}
        assert let_in == {9301, 9302, 9303}


def test_trainer_as_a_service_is_reached_by_clients_only(kustomize_command) -> None:
    policies = of_kind(render("cpu-demo", "trainer-service"), "NetworkPolicy")
    (trainer,) = (p for p in pods(render("cpu-demo", "trainer-service")) if p.component == "trainer")
    assert {port for port in PORTS if allows(policies, trainer, CLIENT, port, "ingress")} == {7303}
    assert reaches(policies, CLIENT, trainer, 7303)
    assert not any(allows(policies, trainer, STRANGER, port, "ingress") for port in PORTS)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize(("components", "let_out"), [([], set()), (["tracing"], {"generator", "trainer"})])
def test_spans_leave_by_the_component_tracing_and_never_from_executors(
    kustomize_command, overlay: str, components: list[str], let_out: set[str]
) -> None:
    manifests = render(overlay, *components)
    policies = of_kind(manifests, "NetworkPolicy")
    for pod in pods(manifests):
        ports = {port for port in PORTS if reaches(policies, pod, COLLECTOR, port)}
        assert ports == ({4317} if pod.component in let_out else set()), pod
