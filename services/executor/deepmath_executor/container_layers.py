"""Isolation layers that a container provides, as reported by /proc and by the engine."""

from collections.abc import Mapping
from pathlib import Path

from deepmath.sandbox.isolation import namespaces
from deepmath.sandbox.isolation.layers import IsolationLayer, seccomp_filters

_SHARED = "shared with the host; enable user remapping in the engine (userns-remap) for a separate one"


def container_layers(pid: int) -> list[IsolationLayer]:
    """Return the isolation layers around a container's first process, `pid`, before that has run anything.

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


def container_cgroup_layer(engine_info: Mapping[str, object], memory_bytes: int, processes: int) -> IsolationLayer:
    """Return the control group layer of an engine that reports `engine_info`, with these limits per container."""
    limits = {
        f"{memory_bytes >> 20} MiB": engine_info["MemoryLimit"],
        f"{processes} processes": engine_info["PidsLimit"],
        "one core": engine_info["CpuCfsQuota"],
    }
    enforced, missing = (
        [limit for limit, works in limits.items() if bool(works) is wanted] for wanted in (True, False)
    )
    detail = f"per container: {', '.join(enforced)}" if enforced else "none"
    if missing:
        detail += f"; the engine's kernel does not enforce {', '.join(missing)}"
    return IsolationLayer(name="cgroup", in_force=not missing, detail=detail)


def _has_read_only_root(pid: int) -> bool:
    lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return any(fields[4] == "/" and "ro" in fields[5].split(",") for fields in lines)  # mount point, options: proc(5)
