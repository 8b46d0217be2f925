"""Isolation layers that a container provides, read from /proc for its first process before that has run anything."""

from pathlib import Path

from deepmath.sandbox.isolation import namespaces
from deepmath.sandbox.isolation.layers import IsolationLayer, seccomp_filters

_SHARED = "shared with the host; enable user remapping in the engine (userns-remap) for a separate one"


def container_layers(pid: int) -> list[IsolationLayer]:
    """Return the isolation layers around process `pid`.

    Raises:
        OSError: The process has ended or is no longer dumpable.
    """
    own, container = namespaces.identities(), namespaces.identities(pid)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return [
        *(
            IsolationLayer(
                name=f"{name}_namespace",
                in_force=container[name] != own[name],
                detail="the container's" if container[name] != own[name] else _SHARED,
            )
            for name in own
        ),
        IsolationLayer(name="minimal_root", in_force=_has_read_only_root(pid), detail="the image's, read-only"),
        IsolationLayer(
            name="container_seccomp", in_force=seccomp_filters(status), detail="allow-list for the whole container"
        ),
    ]


def _has_read_only_root(pid: int) -> bool:
    lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return any(fields[4] == "/" and "ro" in fields[5].split(",") for fields in lines)  # mount point, options: proc(5)
