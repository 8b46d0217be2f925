"""Which layers of isolation are in force: what the zygote set up, and what the kernel says of a sandbox."""

from typing import TypedDict

from services.executor.sandbox import Sandbox

# Without one of these a snippet could reach the host: no level goes without.
_ALWAYS = ("landlock", "seccomp", "no_new_privileges", "capabilities", "resource_limits")
_SECCOMP_MODE_FILTER = "2"


class Layer(TypedDict):
    """One layer, as in GetInfoResponse."""

    name: str
    in_force: bool
    detail: str


def inspect(sandbox: Sandbox) -> list[Layer]:
    """Read from the kernel what holds a waiting sandbox, however it came about."""
    status = sandbox.meter.status()
    filtered = status.get("Seccomp") == _SECCOMP_MODE_FILTER
    capabilities = [status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")]
    none = all(int(mask, 16) == 0 for mask in capabilities[:3])
    user = status["Uid"].split()[0]
    return [
        Layer(name="seccomp_filter_loaded", in_force=filtered, detail=f"{status.get('Seccomp_filters', '?')} filters"),
        Layer(name="no_new_privileges", in_force=status.get("NoNewPrivs") == "1", detail="no exec can gain any"),
        Layer(name="capabilities", in_force=none, detail=f"none; bounding set {capabilities[3]}"),
        Layer(name="unprivileged_user", in_force=user != "0", detail=f"uid {user} on the host"),
        Layer(name="resource_limits", in_force=True, detail="address space, processor time, files, processes, core"),
    ]


def namespaces_refused(layers: list[Layer], reason: str) -> list[Layer]:
    """Return `layers` with the kernel's reason for having no namespaces."""
    detail = f"refused: {reason}; allow user namespaces (user.max_user_namespaces, the container's seccomp profile)"
    return [
        Layer(name=layer["name"], in_force=False, detail=detail) if layer["name"] == "user_namespace" else layer
        for layer in layers
    ]


def missing_for(level: str, layers: list[Layer]) -> str:
    """Return what keeps `layers` below `level`, as one line; empty where nothing does."""
    needed = {layer["name"] for layer in layers} if level == "full" else {*_ALWAYS, "seccomp_filter_loaded"}
    return "; ".join(f"{layer['name']}: {layer['detail']}" for layer in layers if layer["name"] in needed and not layer["in_force"])
