"""What a container gives: the kernel is asked about its first process, from outside, before that has done anything."""

from pathlib import Path

from deepmath.sandbox.isolation import namespaces
from deepmath.sandbox.isolation.layers import IsolationLayer, seccomp_filters

_SHARED = "shared with the host; an engine that remaps users (userns-remap) gives one"


def look_at(pid: int) -> list[IsolationLayer]:
    """Return the layers around process `pid`.

    Raises:
        OSError: it is gone, or hides already.
    """
    ours, theirs = namespaces.identities(), namespaces.identities(pid)
    own = {name: theirs[name] != ours[name] for name in ours}
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return [
        *(
            IsolationLayer(name=f"{name}_namespace", in_force=held, detail="the container's" if held else _SHARED)
            for name, held in own.items()
        ),
        IsolationLayer(name="minimal_root", in_force=_has_read_only_root(pid), detail="the image's, read-only"),
        IsolationLayer(
            name="container_seccomp", in_force=seccomp_filters(status), detail="the whole container's, an allow-list"
        ),
    ]


def _has_read_only_root(pid: int) -> bool:
    lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return any(fields[4] == "/" and "ro" in fields[5].split(",") for fields in lines)  # mount point, options: proc(5)
