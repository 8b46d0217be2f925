"""Which layers of isolation are in force, each seen from outside or tried from inside a real sandbox."""

from typing import Literal, TypedDict

Level = Literal["full", "pod"]
RequestedLevel = Literal["best", "full", "pod"]


class IsolationLayer(TypedDict):
    """One layer, as in GetInfoResponse."""

    name: str
    in_force: bool
    detail: str


# Without one of these a snippet could reach the host: no level goes without.
_ALWAYS = ("landlock", "seccomp", "no_new_privileges", "capabilities", "resource_limits")
# Where the kernel does not hold the memory of all sandboxes together, the supervisor does.
_OPTIONAL = {"cgroup"}
_CAPABILITY_SETS = ("CapEff", "CapPrm", "CapInh", "CapAmb")
_SECCOMP_FILTERS = "2"


def from_status(status: dict[str, str]) -> list[IsolationLayer]:
    """Read from /proc/PID/status of a sandbox what holds it, however that came about."""
    powerless = all(int(status[name], 16) == 0 for name in _CAPABILITY_SETS)
    user = status["Uid"].split()[0]
    return [
        IsolationLayer(name="no_new_privileges", in_force=status["NoNewPrivs"] == "1", detail="no exec can gain any"),
        IsolationLayer(name="capabilities", in_force=powerless, detail=f"none; bounding set {status['CapBnd']}"),
        IsolationLayer(name="unprivileged_user", in_force=user != "0", detail=f"uid {user} on the host"),
    ]


def seccomp_filters(status: dict[str, str]) -> bool:
    """Whether a seccomp filter holds the process with this /proc/PID/status."""
    return status["Seccomp"] == _SECCOMP_FILTERS


def missing_for(level: Level, layers: list[IsolationLayer]) -> str:
    """Return what keeps `layers` below `level` in one line; empty where nothing does."""
    needed = {layer["name"] for layer in layers} - _OPTIONAL if level == "full" else set(_ALWAYS)
    missing = [layer for layer in layers if layer["name"] in needed and not layer["in_force"]]
    names: dict[str, list[str]] = {}
    for layer in missing:
        names.setdefault(layer["detail"], []).append(layer["name"])
    return "; ".join(f"no {', '.join(together)} ({detail})" for detail, together in names.items())
