"""References between the manifests of a cell, and those that resolve to nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .manifests import Manifest, Pod, of_kind, pods

# Created before a cell, by the cluster's administrator (deploy/k8s/cluster) or by hand (docs/deploy.md).
SECRETS = {
    *(f"{service}-tls" for service in ("executor", "generator", "trainer", "gateway", "client")),
    *(f"{service}-tokens" for service in ("executor", "generator", "trainer", "gateway")),
    *(f"{service}-token" for service in ("generator", "trainer", "gateway", "client")),
    "hub",
}
CLUSTER = {
    ("PriorityClass", "deepmath-serving"),
    ("PriorityClass", "deepmath-training"),
    ("RuntimeClass", "gvisor"),
    ("RuntimeClass", "nvidia"),  # of NVIDIA's GPU operator
}
INSTANCE = "app.kubernetes.io/instance"
_ADDRESS = re.compile(r"([A-Za-z0-9$()._-]+):(7301|7302|7303|7304)\b")
_VARIABLE = re.compile(r"\$\(([A-Z_]+)\)")


@dataclass(frozen=True)
class Reference:
    """A name in one manifest that must be another's."""

    source: str
    kind: str
    name: str


def references(manifests: list[Manifest]) -> Iterator[Reference]:
    """Yield all references by name."""
    for pod in pods(manifests):
        yield from _of_pod(pod)
    for manifest in manifests:
        source, spec = f"{manifest['kind']}/{manifest['metadata']['name']}", manifest.get("spec", {})
        match manifest["kind"]:
            case "HorizontalPodAutoscaler" | "ScaledObject":
                yield Reference(source, "Deployment", spec["scaleTargetRef"]["name"])
            case "StatefulSet":
                yield Reference(source, "Service", spec["serviceName"])
            case "Certificate":
                yield Reference(source, "Issuer", spec["issuerRef"]["name"])
            case "Issuer" if "ca" in spec:
                yield Reference(source, "CertificateSecret", spec["ca"]["secretName"])
            case "Role":
                names = [name for rule in manifest["rules"] for name in rule["resourceNames"]]
                yield from (Reference(source, "Pod", name) for name in names)


def _of_pod(pod: Pod) -> Iterator[Reference]:
    source, spec = str(pod), pod.spec
    yield Reference(source, "ServiceAccount", spec["serviceAccountName"])
    yield Reference(source, "ServiceAccount", pod.labels[INSTANCE])
    for field, kind in (("priorityClassName", "PriorityClass"), ("runtimeClassName", "RuntimeClass")):
        if field in spec:
            yield Reference(source, kind, spec[field])
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            yield Reference(source, "Secret", volume["secret"]["secretName"])
        if "configMap" in volume:
            yield Reference(source, "ConfigMap", volume["configMap"]["name"])
        if "persistentVolumeClaim" in volume:
            yield Reference(source, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    for container in pod.containers:
        for part in container.get("envFrom", []):
            yield Reference(source, "ConfigMap", part["configMapRef"]["name"])
        for variable in container.get("env", []):
            taken = variable.get("valueFrom", {})
            if "configMapKeyRef" in taken:
                yield Reference(source, "ConfigMap", taken["configMapKeyRef"]["name"])
            if "secretKeyRef" in taken:
                yield Reference(source, "Secret", taken["secretKeyRef"]["name"])
        for argument in arguments(container):
            for host, _ in _ADDRESS.findall(argument):
                if host != "0.0.0.0":
                    yield Reference(source, "Service", host)


def arguments(container: Manifest) -> list[str]:
    """Return the arguments and variables of `container` as the kubelet expands them."""
    values: dict[str, str] = {}
    for variable in container.get("env", []):
        if "value" in variable:
            values[variable["name"]] = _expand(variable["value"], values)
    return [*values.values(), *(_expand(argument, values) for argument in container.get("args", []))]


def _expand(text: str, values: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), text)


def dangling(manifests: list[Manifest], prefix: str = "", suffix: str = "") -> list[Reference]:
    """Return the references to nothing, in a cell whose names have `prefix` and `suffix`."""
    known = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests} | CLUSTER
    known |= {("Secret", f"{prefix}{name}{suffix}") for name in SECRETS}
    known |= {("CertificateSecret", one["spec"]["secretName"]) for one in of_kind(manifests, "Certificate")}
    return [reference for reference in references(manifests) if (reference.kind, reference.name) not in known]


def selectors(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield each selector of pods of the same namespace, with its manifest's name."""
    for manifest in manifests:
        source, spec = f"{manifest['kind']}/{manifest['metadata']['name']}", manifest.get("spec", {})
        match manifest["kind"]:
            case "Service":
                yield source, {"matchLabels": spec["selector"]}
            case "Deployment" | "StatefulSet" | "DaemonSet" | "PodDisruptionBudget" | "PodMonitor":
                yield source, spec["selector"]
            case "NetworkPolicy":
                yield source, spec["podSelector"]
                rules = [*spec.get("ingress", []), *spec.get("egress", [])]
                peers = [peer for rule in rules for side in ("from", "to") for peer in rule.get(side, [])]
                yield from ((source, peer["podSelector"]) for peer in peers if set(peer) == {"podSelector"})
    for pod in pods(manifests):
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            yield str(pod), constraint["labelSelector"]
