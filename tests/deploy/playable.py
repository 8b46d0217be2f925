"""Of rendered manifests, what `podman kube play` can run on this machine: real pods, on the host's network.

Nothing is written here that a manifest says: pods come from its templates, with their security context, resources,
environment, arguments and volumes. What podman does not have takes another form:

- A controller's replicas become pods. Each gets a loopback address of its own and listens there in place of 0.0.0.0,
  on the manifest's ports. The names of Services and of a StatefulSet's pods go into a hosts file that every pod mounts:
  on the host's network podman writes no hostAliases.
- A volume from a Secret becomes a folder of this machine, FOLDER/NAME, whose files may change as the kubelet's do.
- An emptyDir, and a volume that is claimed, become folders too, FOLDER/volumes/...: as the kubelet does and podman does
  not, they are made so that the pod's user can write to them.
- Seccomp profiles become the annotations that podman reads; it looks for `deepmath/executor.json` as `executor.json`.
- Probes and the preStop hook are left out: podman has no gRPC probes. Network policies are not enforced; what they
  allow is worked out in tests/deploy/test_network.py.

    python -m tests.deploy.playable FOLDER [--prefix 127.20] [--image-prefix localhost/] < RENDERED

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
_LEFT_OUT = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle")
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io"


@dataclass(frozen=True)
class Machine:
    """Where the pods are to run."""

    folder: Path
    """Has a folder for each Secret that is mounted, and the pods' hosts file."""
    prefix: str = "127.20"
    """The first half of the pods' addresses: loopback, and no other stack's."""
    image_prefix: str = "localhost/"
    """What podman calls the images of the Docker engine."""


@dataclass
class Played:
    """What podman gets, and where the pods are then found."""

    manifests: list[Manifest] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    """Of each pod."""
    hosts: str = ""
    """The pods' hosts file."""
    folders: set[Path] = field(default_factory=set)
    """Of this machine, that pods write to."""

    def of(self, component: str) -> dict[str, str]:
        """The pods of a component and their addresses."""
        return {name: address for name, address in self.addresses.items() if name.startswith(f"{component}-")}

    def write(self, folder: Path) -> Path:
        """Write what podman needs; return the file with the pods."""
        for writable in self.folders:
            writable.mkdir(parents=True, exist_ok=True)
            writable.chmod(0o1777)
        (folder / "hosts").write_text(self.hosts)
        (folder / "pods.yaml").write_text(yaml.safe_dump_all(self.manifests, sort_keys=False))
        return folder / "pods.yaml"


def playable(manifests: list[Manifest], machine: Machine) -> Played:
    """Return what podman can run of `manifests`."""
    played = Played([deepcopy(m) for m in manifests if m["kind"] == "ConfigMap"])
    made = [(pod, name) for pod in pods(manifests) if pod.component in _COMPONENTS for name in _names(pod, manifests)]
    for pod, name in made:
        replica = 1 + sum(1 for other in played.addresses if other.startswith(f"{pod.component}-"))
        played.addresses[name] = f"{machine.prefix}.{_COMPONENTS[pod.component]}.{replica}"
    played.hosts = _hosts([(pod, played.addresses[name], name) for pod, name in made], manifests)
    for pod, name in made:
        manifest = _pod(pod, name, played.addresses[name])
        played.folders |= _volumes(manifest, machine.folder)
        for container in manifest["spec"]["containers"]:
            container["image"] = machine.image_prefix + container["image"]
        played.manifests.append(manifest)
    for manifest in played.manifests:
        manifest["metadata"].pop("namespace", None)
    return played


def _names(pod: Pod, manifests: list[Manifest]) -> Iterator[str]:
    """One for each replica, as the controller would number them."""
    owner = next(m for m in manifests if m["kind"] == pod.kind and m["metadata"]["name"] == pod.name)
    for replica in range(owner["spec"].get("replicas", 1)):
        yield f"{pod.name}-{replica}"


def _hosts(made: list[tuple[Pod, str, str]], manifests: list[Manifest]) -> str:
    lines = ["127.0.0.1 localhost"]
    for service in (manifest for manifest in manifests if manifest["kind"] == "Service"):
        domain = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
        for pod, address, name in made:
            if service["spec"]["selector"].items() <= pod.labels.items():
                lines.append(f"{address} {domain}" + (f" {name}.{domain}" if pod.kind == "StatefulSet" else ""))
    return "\n".join(lines) + "\n"


def _pod(pod: Pod, name: str, address: str) -> Manifest:
    spec = deepcopy(pod.spec)
    annotations = {}
    for container in spec["containers"]:
        for key in _LEFT_OUT:
            container.pop(key, None)
        container["imagePullPolicy"] = "Never"
        container["args"] = [argument.replace("0.0.0.0", address) for argument in container.get("args", [])]
        for variable in container.get("env", []):
            if "value" in variable:
                variable["value"] = variable["value"].replace("0.0.0.0", address)
        container.pop("ports", None)  # of the host, all of them
        profile = container["securityContext"].get("seccompProfile") or spec["securityContext"]["seccompProfile"]
        annotations[f"{_SECCOMP}/{container['name']}"] = (
            f"localhost/{Path(profile['localhostProfile']).name}"
            if profile["type"] == "Localhost"
            else "runtime/default"
        )
    metadata = {"name": name, "labels": pod.labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _volumes(pod: Manifest, folder: Path) -> set[Path]:
    """Make the volumes of `pod` folders of this machine; return those that it writes to."""
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
    print(playable(list(yaml.safe_load_all(sys.stdin)), machine).write(machine.folder))


if __name__ == "__main__":
    main()
