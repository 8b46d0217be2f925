"""Isolation layers and levels: which layers are in force, and which a level requires."""

from typing import Literal, TypedDict

Level = Literal["full", "pod"]
"""`full`: every layer. `pod`: no namespaces, for kernels that refuse user namespaces, as in most pods."""
RequestedLevel = Literal["best", "full", "pod"]
"""`best`: the highest level that the kernel allows."""


class IsolationLayer(TypedDict):
    """State of one layer, as in GetInfoResponse."""

    name: str
    in_force: bool
    detail: str


# Without any one of these a snippet could reach the host.
_REQUIRED_AT_EVERY_LEVEL = (
    *("landlock", "seccomp", "no_new_privileges", "capabilities", "unprivileged_user", "resource_limits"),
)
# Without a control group the supervisor limits the total memory itself.
_OPTIONAL = {"cgroup"}
_CAPABILITY_SETS = ("CapEff", "CapPrm", "CapInh", "CapAmb")
_SECCOMP_FILTERS = "2"
_ROOT = (
    "sandboxes would run as root: start this as another user, or as root with the capabilities KILL, SETGID, SETUID "
    "and SETPCAP and the user 65534 mapped, for sandboxes to become that user"
)


def from_status(status: dict[str, str]) -> list[IsolationLayer]:
    """Return the layers that /proc/PID/status of a sandbox proves, whoever set them up."""
    no_capabilities = all(int(status[name], 16) == 0 for name in _CAPABILITY_SETS)
    no_gain = status["NoNewPrivs"] == "1"
    users = status["Uid"].split()  # real, effective, saved, of the file system
    return [
        IsolationLayer(name="no_new_privileges", in_force=no_gain, detail="exec gains no privileges"),
        IsolationLayer(name="capabilities", in_force=no_capabilities, detail=f"none; bounding set {status['CapBnd']}"),
        IsolationLayer(
            name="unprivileged_user",
            in_force="0" not in users,
            detail=_ROOT if "0" in users else f"uid {users[0]} in the supervisor's user namespace",
        ),
    ]


def seccomp_filters(status: dict[str, str]) -> bool:
    """Whether the process with this /proc/PID/status has a seccomp filter."""
    return status["Seccomp"] == _SECCOMP_FILTERS


def missing_for(level: Level, layers: list[IsolationLayer]) -> str:
    """Return in one line which layers `level` requires and `layers` lacks; empty if none."""
    needed = {layer["name"] for layer in layers} - _OPTIONAL if level == "full" else set(_REQUIRED_AT_EVERY_LEVEL)
    missing = [layer for layer in layers if layer["name"] in needed and not layer["in_force"]]
    names: dict[str, list[str]] = {}
    for layer in missing:
        names.setdefault(layer["detail"], []).append(layer["name"])
    return "; ".join(f"no {', '.join(together)} ({detail})" for detail, together in names.items())
