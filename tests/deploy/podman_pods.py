"""Converts rendered manifests to pods that `podman kube play` runs on the network of this machine.

Security contexts, resources, environment, arguments and volumes come unchanged from the pod templates. Features that
podman lacks are converted:

- Each replica of a controller becomes a pod with its own loopback address, where it listens instead of on 0.0.0.0, on
  the manifest's ports. The names of Services and of a StatefulSet's pods are in a hosts file that every pod mounts,
  because podman ignores hostAliases on the host's network.
- A volume from a Secret becomes the folder FOLDER/NAME, whose files may change, as under the kubelet. An optional one
  may be an empty folder.
- References to variables in arguments, such as $(EXECUTOR_SERVICE), are replaced.
- An emptyDir or a volume claim becomes a folder in FOLDER/volumes, writable for the pod's user, as under the kubelet.
- A seccomp profile becomes podman's annotation, which names `deepmath/executor.json` as `executor.json`.
- Probes and the preStop hook are dropped: podman has no gRPC probes. Network policies are not enforced;
  tests/deploy/test_network.py evaluates them.

    python -m tests.deploy.podman_pods FOLDER [--prefix 127.20] [--image-prefix localhost/] < RENDERED

writes FOLDER/pods.yaml and FOLDER/hosts.
"""

import argparse
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .manifests import Manifest, Pod, pods

_COMPONENTS = {"executor": 1, "generator": 2, "trainer": 3}
_DROPPED_FIELDS = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle")
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io"


@dataclass(frozen=True)
class Machine:
    """The machine that runs the pods."""

    folder: Path
    """Contains a folder per mounted Secret, and the pods' hosts file."""
    prefix: str = "127.20"
    """First half of the pods' loopback addresses, not shared with another stack."""
    image_prefix: str = "localhost/"
    """Podman's prefix for images loaded from the Docker engine."""


@dataclass
class PodmanPods:
    """Manifests for podman, and the addresses of their pods."""

    manifests: list[Manifest] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    """By name of the pod."""
    hosts: str = ""
    """Content of the pods' hosts file."""
    folders: set[Path] = field(default_factory=set)
    """Folders of this machine that pods write to."""
    optional: set[Path] = field(default_factory=set)
    """Folders of optional Secrets."""

    def of(self, component: str) -> dict[str, str]:
        """Return the addresses of a component's pods, by name."""
        return {name: address for name, address in self.addresses.items() if name.startswith(f"{component}-")}

    def write(self, folder: Path) -> Path:
        """Write the manifests and the hosts file, and return the path of the manifests."""
        for writable in self.folders:
            writable.mkdir(parents=True, exist_ok=True)
            writable.chmod(0o1777)
        for secret in self.optional:
            secret.mkdir(exist_ok=True)
        (folder / "hosts").write_text(self.hosts)
        (folder / "pods.yaml").write_text(yaml.safe_dump_all(self.manifests, sort_keys=False))
        return folder / "pods.yaml"


def podman_pods(manifests: list[Manifest], machine: Machine) -> PodmanPods:
    """Convert `manifests` for `machine`."""
    converted = PodmanPods([deepcopy(m) for m in manifests if m["kind"] == "ConfigMap"])
    replicas = [
        (pod, name) for pod in pods(manifests) if pod.component in _COMPONENTS for name in _names(pod, manifests)
    ]
    for pod, name in replicas:
        replica = 1 + sum(1 for other in converted.addresses if other.startswith(f"{pod.component}-"))
        converted.addresses[name] = f"{machine.prefix}.{_COMPONENTS[pod.component]}.{replica}"
    converted.hosts = _hosts([(pod, converted.addresses[name], name) for pod, name in replicas], manifests)
    for pod, name in replicas:
        manifest = _pod(pod, name, converted.addresses[name])
        converted.optional |= _optional_secrets(manifest, machine.folder)
        converted.folders |= _volumes(manifest, machine.folder)
        for container in manifest["spec"]["containers"]:
            container["image"] = machine.image_prefix + container["image"]
        converted.manifests.append(manifest)
    for manifest in converted.manifests:
        manifest["metadata"].pop("namespace", None)
    return converted


def _names(pod: Pod, manifests: list[Manifest]) -> Iterator[str]:
    """Yield the name of each replica, numbered as the controller would."""
    owner = next(m for m in manifests if m["kind"] == pod.kind and m["metadata"]["name"] == pod.name)
    for replica in range(owner["spec"].get("replicas", 1)):
        yield f"{pod.name}-{replica}"


def _hosts(replicas: list[tuple[Pod, str, str]], manifests: list[Manifest]) -> str:
    lines = ["127.0.0.1 localhost"]
    for service in (manifest for manifest in manifests if manifest["kind"] == "Service"):
        domain = service["metadata"]["name"]
        for pod, address, name in replicas:
            if service["spec"]["selector"].items() <= pod.labels.items():
                lines.append(f"{address} {domain}" + (f" {name}.{domain}" if pod.kind == "StatefulSet" else ""))
    return "\n".join(lines) + "\n"


def _pod(pod: Pod, name: str, address: str) -> Manifest:
    spec = deepcopy(pod.spec)
    annotations = {}
    for container in spec["containers"]:
        for key in _DROPPED_FIELDS:
            container.pop(key, None)
        container["imagePullPolicy"] = "Never"
        container["args"] = [argument.replace("0.0.0.0", address) for argument in container.get("args", [])]
        for variable in container.get("env", []):
            if "value" in variable:
                variable["value"] = variable["value"].replace("0.0.0.0", address)
                reference = f"$({variable['name']})"
                container["args"] = [argument.replace(reference, variable["value"]) for argument in container["args"]]
        container.pop("ports", None)  # the pod uses the host's network
        profile = container["securityContext"].get("seccompProfile") or spec["securityContext"]["seccompProfile"]
        annotations[f"{_SECCOMP}/{container['name']}"] = (
            f"localhost/{Path(profile['localhostProfile']).name}"
            if profile["type"] == "Localhost"
            else "runtime/default"
        )
    metadata = {"name": name, "labels": pod.labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _optional_secrets(pod: Manifest, folder: Path) -> set[Path]:
    secrets = [volume["secret"] for volume in pod["spec"].get("volumes", []) if "secret" in volume]
    return {folder / secret["secretName"] for secret in secrets if secret.get("optional")}


def _volumes(pod: Manifest, folder: Path) -> set[Path]:
    """Replace the volumes of `pod` by folders of this machine, and return the writable ones."""
    writable = set()
    volumes = pod["spec"].setdefault("volumes", [])
    for volume in volumes:
        if secret := volume.pop("secret", None):
            path = folder / secret["secretName"]
        elif claim := volume.pop("persistentVolumeClaim", None):
            path = folder / "volumes" / claim["claimName"]
            writable.add(path)
        else:
            del volume["emptyDir"]
            path = folder / "volumes" / pod["metadata"]["name"] / volume["name"]
            writable.add(path)
        volume["hostPath"] = {"path": str(path), "type": "Directory"}
    volumes.append({"name": "hosts", "hostPath": {"path": str(folder / "hosts"), "type": "File"}})
    for container in pod["spec"]["containers"]:
        container.setdefault("volumeMounts", []).append({"name": "hosts", "mountPath": "/etc/hosts", "readOnly": True})
    return writable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prefix", default=Machine.prefix)
    parser.add_argument("--image-prefix", default=Machine.image_prefix)
    arguments = parser.parse_args()
    machine = Machine(arguments.folder.resolve(), arguments.prefix, arguments.image_prefix)
    print(podman_pods(list(yaml.safe_load_all(sys.stdin)), machine).write(machine.folder))


if __name__ == "__main__":
    main()
