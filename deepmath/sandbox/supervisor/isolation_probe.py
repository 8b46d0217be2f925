"""Probe of the isolation layers from inside a sandbox, by snippets that each layer must stop in its own way."""

import errno

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.isolation.layers import IsolationLayer, from_status, seccomp_filters
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.supervisor.snippet import Snippet

_LIMITS = Limits(wall_ms=10_000, cpu_ms=10_000, memory_bytes=64 << 20, output_bytes=1 << 10)
# Any snippet reaches the `os` module without an import. The import allow-list is not an isolation layer.
_OS = """
os = next(kind for kind in object.__subclasses__() if kind.__name__ == "_wrap_close").__init__.__globals__
"""
_READ_THE_ROOT = f"""
{_OS}
try:
    os["listdir"]("/")
except OSError as error:
    print(error.errno)
"""
_OPEN_A_SOCKET = f"""
{_OS}
os["sys"].modules["ctypes"].CDLL(None).socket(2, 1, 0)
"""
_TAKE_MEMORY = "bytes(1 << 30)"


async def probe_layers(sandbox: Sandbox, prepared: list[IsolationLayer]) -> list[IsolationLayer]:
    """Return the layers around `sandbox`: the `prepared` ones, corrected by the probes, and those the kernel reports.

    The probes kill the sandbox.
    """
    status = sandbox.meter.status()
    # EACCES comes from Landlock; seccomp would answer EPERM.
    landlock = (await sandbox.run(_snippet(1, _READ_THE_ROOT))).stdout.strip() == str(errno.EACCES)
    memory = (await sandbox.run(_snippet(2, _TAKE_MEMORY))).outcome == pb.OUTCOME_OUT_OF_MEMORY
    seccomp = (await sandbox.run(_snippet(3, _OPEN_A_SOCKET))).outcome == pb.OUTCOME_POLICY_VIOLATION
    held = {"landlock": landlock, "seccomp": seccomp and seccomp_filters(status)}
    layers = [_correct(layer, held.get(layer["name"], True)) for layer in prepared]
    limits = IsolationLayer(
        name="resource_limits", in_force=memory, detail="address space, processor time, descriptors, files"
    )
    return [*layers, *from_status(status), limits]


def _snippet(sequence: int, code: str) -> Snippet:
    return Snippet(sequence, code, _LIMITS)


def _correct(layer: IsolationLayer, held: bool) -> IsolationLayer:
    if held or not layer["in_force"]:
        return layer
    return IsolationLayer(name=layer["name"], in_force=False, detail="set up, but a probe got past it")
