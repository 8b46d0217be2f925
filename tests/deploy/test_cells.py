"""Cells: overlays and components in any namespace, with any prefix and suffix, several in one cluster, in any order."""

import itertools
import json
import random
import re
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from .manifests import (
    COMPATIBLE,
    EXCLUSIVE,
    INCOMPATIBLE,
    OVERLAYS,
    Cell,
    Manifest,
    RenderingError,
    build,
    largest_sets,
    of_kind,
    pods,
)
from .references import INSTANCE, Reference, arguments, dangling, selectors
from .test_network import reaches, selects

SINGLE_USE = {"keda"}  # two of them need two builds
CLUSTER_WIDE = {"Namespace"}
AFFIXES = [("team-a", "", ""), (None, "a-", ""), ("team-a", "a-", "-v2")]
FULL = [(overlay, components) for overlay in OVERLAYS for components in largest_sets(overlay)]
Rendering = tuple[Cell, list[Manifest]]


@cache
def single(overlay: str) -> list[Rendering]:
    """Return the overlay alone and with each component, of one build."""
    sets = [(), *((component,) for component in COMPATIBLE[overlay])]
    cells = [Cell(overlay, components, f"team-{at}", "a-", "-v2") for at, components in enumerate(sets)]
    manifests = build(*cells)
    return [
        (cell, [m for m in manifests if cell.namespace in (m["metadata"].get("namespace"), name(m))]) for cell in cells
    ]


@pytest.fixture(params=[*OVERLAYS, *FULL], ids=lambda cell: cell if isinstance(cell, str) else f"{cell[0]}-full")
def renderings(request, kustomize_command) -> list[Rendering]:
    """Cells in other namespaces and with other names."""
    if isinstance(request.param, str):
        return single(request.param)
    overlay, components = request.param
    return [(cell, build(cell)) for cell in (Cell(overlay, components, *affixes) for affixes in AFFIXES)]


def name(manifest: Manifest) -> str:
    return manifest["metadata"]["name"]


def namespace(cell: Cell) -> str:
    return cell.namespace or "deepmath"


def test_every_resource_is_in_the_namespace_of_the_cell(renderings) -> None:
    for cell, manifests in renderings:
        placed = {m["metadata"].get("namespace") for m in manifests if m["kind"] not in CLUSTER_WIDE}
        assert placed == {namespace(cell)}
        assert {m["metadata"]["name"] for m in of_kind(manifests, "Namespace")} == {namespace(cell)}
        for manifest in manifests:
            if manifest["kind"] not in CLUSTER_WIDE:
                name = manifest["metadata"]["name"]
                assert name.startswith(cell.prefix), name
                assert cell.suffix in name, name


def test_every_reference_resolves_within_the_cell(renderings) -> None:
    for cell, manifests in renderings:
        assert dangling(manifests, cell.prefix, cell.suffix) == []


def test_every_selector_selects_a_pod_of_the_cell(renderings) -> None:
    for cell, manifests in renderings:
        clients = [{"deepmath/client": f"{cell.prefix}{service}{cell.suffix}"} for service in ("generator", "gateway")]
        # `monitoring` watches gateways, which the cell may not have.
        gateway = {"component": "gateway", "instance": f"{cell.prefix}gateway{cell.suffix}", "part-of": "deepmath"}
        optional = {f"app.kubernetes.io/{key}": value for key, value in gateway.items()}
        labels = [*(pod.labels for pod in pods(manifests)), *clients, optional]
        for source, selector in selectors(manifests):
            assert any(selects(selector, found) for found in labels), f"{source}: {selector}"


def test_no_text_names_another_namespace(renderings) -> None:
    for cell, manifests in renderings:
        texts = json.dumps([m for m in manifests if m["kind"] not in {"ConfigMap", "PrometheusRule"}])
        assert not re.search(r"deepmath\.svc|\.svc\.cluster", texts)
        assert set(re.findall(r'namespace=\\"([^\\]*)\\"', texts)) <= {namespace(cell)}


def test_query_of_keda_selects_the_executors_of_the_cell(renderings) -> None:
    for cell, manifests in renderings:
        for scaled in of_kind(manifests, "ScaledObject"):
            for trigger in scaled["spec"]["triggers"]:
                query = trigger["metadata"].get("query", "")
                for selector in re.findall(r"\{([^}]*)\}", query):
                    (pattern,) = re.findall('pod=~"([^"]*)"', selector)
                    assert f'namespace="{namespace(cell)}"' in selector
                    assert re.fullmatch(pattern, f"{cell.prefix}executor{cell.suffix}-5d8f-x7k2")


def test_certificate_of_each_service_has_its_name(renderings) -> None:
    for cell, manifests in renderings:
        certificates = {c["spec"]["secretName"]: c["spec"] for c in of_kind(manifests, "Certificate")}
        if not certificates:
            continue
        for service in of_kind(manifests, "Service"):
            name = service["metadata"]["name"]
            component = service["metadata"]["labels"]["app.kubernetes.io/component"]
            assert name in certificates[f"{cell.prefix}{component}-tls{cell.suffix}"]["dnsNames"]
            headless = component != "gateway"  # whose clients keep to one of its pods, by sessionAffinity
            assert service["spec"].get("clusterIP", "") == ("None" if headless else "")
        for pod in pods(manifests):
            mounted = [v["secret"]["secretName"] for v in pod.spec["volumes"] if v["name"] == "tls"]
            assert set(mounted) <= set(certificates), pod


def test_machines_of_a_run_meet_at_the_first(kustomize_command) -> None:
    """JobSet names its pods SET-JOB-INDEX-INDEX in the domain `subdomain`."""
    manifests = build(Cell("multi-node", (), "team-a", "a-"))
    (group,) = of_kind(manifests, "JobSet")
    first = f"{group['metadata']['name']}-leader-0-0.{group['spec']['network']['subdomain']}"
    assert first == "a-trainer-leader-0-0.a-trainer"
    for pod in pods([group]):
        assert any(first in argument for argument in arguments(pod.containers[0])), pod


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_two_namespaces_hold_two_cells_of_one_build(kustomize_command, overlay: str) -> None:
    components = tuple(c for c in largest_sets(overlay)[0] if c not in SINGLE_USE)
    one, other = build(Cell(overlay, components, "team-a")), build(Cell(overlay, components, "team-b"))
    both = build(Cell(overlay, components, "team-a"), Cell(overlay, components, "team-b"))
    assert by_identity(both) == by_identity([*one, *other])


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("pairs", [(("team-a", ""), ("team-b", "")), (("team-a", "a-"), ("team-a", "b-"))])
def test_cells_share_nothing_and_cannot_reach_each_other(kustomize_command, overlay: str, pairs) -> None:
    sets = largest_sets(overlay)[0]
    one, other = (build(Cell(overlay, sets, *affixes)) for affixes in pairs)
    namespaces = {("Namespace", None, namespace) for namespace, _ in pairs}
    assert set(by_identity(one)) & set(by_identity(other)) <= namespaces
    policies = of_kind([*one, *other], "NetworkPolicy")
    one_namespace = pairs[0][0] == pairs[1][0]
    for pod, stranger in itertools.product(pods(one), pods(other)):
        assert not any(reaches(policies, pod, stranger, port) for port in (6379, 7301, 7302, 7303)), (pod, stranger)
    for source, selector in selectors(one):
        if INSTANCE in json.dumps(selector):
            assert not one_namespace or not any(selects(selector, pod.labels) for pod in pods(other)), source


def test_cluster_wide_resources_are_in_no_cell(renderings) -> None:
    """A second cell would otherwise overwrite them, and deleting one cell would delete those of the other."""
    wide = {"PriorityClass", "RuntimeClass", "ClusterRole", "ClusterRoleBinding", "DaemonSet", "StorageClass"}
    for _, manifests in renderings:
        assert of_kind(manifests, *wide) == []
        assert len(of_kind(manifests, "Namespace")) == 1


def by_identity(manifests: list[Manifest]) -> dict[tuple[str, str | None, str], str]:
    """Return each manifest in a form that does not depend on the order of lists."""
    return {
        (m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]): json.dumps(_sorted(m), sort_keys=True)
        for m in manifests
    }


def _sorted(value):
    if isinstance(value, dict):
        return {key: _sorted(part) for key, part in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(part) for part in value), key=lambda part: json.dumps(part, sort_keys=True))
    return value


def assert_equal(cells: list[Cell], others: list[Cell]) -> None:
    """Compare cells that differ in the order of their components, each list in one build."""
    assert by_identity(build(*cells)) == by_identity(build(*others)), [cell.components for cell in others]


@pytest.mark.parametrize(("overlay", "components"), FULL, ids=str)
def test_order_of_components_does_not_matter(kustomize_command, overlay: str, components: tuple[str, ...]) -> None:
    """The reversed order changes the order of every pair; random ones that of triples in every way."""
    chance = random.Random(16)
    orders = [components[::-1], *(tuple(chance.sample(components, len(components))) for _ in range(3))]
    for order in orders:
        assert_equal([Cell(overlay, components)], [Cell(overlay, order)])


@pytest.mark.parametrize(
    "overlay", [overlay for overlay in OVERLAYS if (overlay, "trainer-service") not in INCOMPATIBLE]
)
@pytest.mark.parametrize("component", ["trainer-service", "tokens"])
def test_order_of_a_component_and_any_other_does_not_matter(kustomize_command, overlay: str, component: str) -> None:
    """Without a third component, whose effect could hide a difference."""
    others = sorted(set(COMPATIBLE[overlay]) - {component} - SINGLE_USE)
    pairs = [Cell(overlay, (component, other), f"n{at}") for at, other in enumerate(others)]
    assert_equal(pairs, [replace(cell, components=cell.components[::-1]) for cell in pairs])


@pytest.mark.parametrize("components", [order for pair in EXCLUSIVE for order in itertools.permutations(pair)])
def test_components_that_replace_each_other_are_refused_together(kustomize_command, components) -> None:
    with pytest.raises(RenderingError):
        build(Cell("cpu-demo", components))


@pytest.mark.parametrize(("overlay", "component"), INCOMPATIBLE)
def test_incompatible_component_is_refused(kustomize_command, overlay: str, component: str) -> None:
    with pytest.raises(RenderingError):
        build(Cell(overlay, (component,)))


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("with_service", [False, True])
def test_every_server_requires_tokens_and_every_caller_has_one(
    kustomize_command, overlay: str, with_service: bool
) -> None:
    components = ("tokens", "trainer-service") if with_service else ("tokens", "gateway")
    if any((overlay, component) in INCOMPATIBLE for component in components):
        return
    for order in itertools.permutations(components):
        manifests = build(Cell(overlay, order))
        for pod in pods(manifests):
            if pod.component not in {"executor", "generator", "trainer", "gateway"}:
                continue
            for container in pod.containers:
                variables = environment(container, manifests)
                mounts = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
                if any("--listen=" in argument for argument in container.get("args", [])):
                    assert variables[f"DEEPMATH_{pod.component.upper()}_TOKENS"] == "/etc/deepmath/tokens/tokens.toml"
                    assert "/etc/deepmath/tokens" in mounts
                if pod.component != "executor" and container["name"] != "ray":
                    assert variables["DEEPMATH_TOKEN_FILE"] == "/etc/deepmath/token/token"
                    assert "/etc/deepmath/token" in mounts


def environment(container: Manifest, manifests: list[Manifest]) -> dict[str, str]:
    """Return the variables of `container`, those from ConfigMaps included."""
    configs = {m["metadata"]["name"]: m.get("data", {}) for m in of_kind(manifests, "ConfigMap")}
    found: dict[str, str] = {}
    for part in container.get("envFrom", []):
        found |= configs[part["configMapRef"]["name"]]
    for variable in container.get("env", []):
        key = variable.get("valueFrom", {}).get("configMapKeyRef")
        if key and key["key"] in configs[key["name"]]:
            found[variable["name"]] = configs[key["name"]][key["key"]]
        elif "value" in variable:
            found[variable["name"]] = variable["value"]
    return found


def test_without_the_component_no_server_reads_tokens(kustomize_command) -> None:
    manifests = build(Cell("gpu", ("trainer-service",)))
    for pod in pods(manifests):
        for container in pod.containers:
            assert not any("TOKEN" in n for n in environment(container, manifests) if n != "HF_TOKEN")


@pytest.mark.parametrize(
    ("kind", "path", "value", "reference"),
    [
        ("Deployment", "spec.template.spec.volumes.0.secret.secretName", "executor-tls", "Secret"),
        ("StatefulSet", "spec.template.spec.containers.0.env.0.value", "other", "Service"),
        ("Job", "spec.template.spec.serviceAccountName", "trainer", "ServiceAccount"),
        ("StatefulSet", "spec.serviceName", "generator", "Service"),
        ("Certificate", "spec.issuerRef.name", "deepmath", "Issuer"),
        ("Deployment", "spec.template.spec.containers.0.envFrom.0.configMapRef.name", "executor", "ConfigMap"),
    ],
)
def test_stale_name_is_found(kustomize_command, kind: str, path: str, value: str, reference: str) -> None:
    manifests = deepcopy(build(Cell("cpu-demo", ("cert-manager",), "team-a", "a-")))
    target: Any = of_kind(manifests, kind)[0]
    *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in keys:
        target = target[key]
    target[last] = value
    found = dangling(manifests, "a-")
    assert [one.kind for one in found] == [reference]
    assert isinstance(found[0], Reference)
