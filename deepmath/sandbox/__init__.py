"""A sandbox for untrusted Python, as a library without gRPC: `docs/sandbox.md`.

`isolation` holds the kernel layers, `inside` all code that runs in the hostile process, `supervisor` the code that
starts, measures and kills that process. Modules beside these packages are shared by both sides.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepmath.executor.v1.executor_pb2 import Outcome, SnippetResult
    from deepmath.sandbox.allowed_modules import ALLOWED_MODULES, PLOT_LIBRARIES
    from deepmath.sandbox.limits import Limits
    from deepmath.sandbox.preload_set import MATHS, NOTHING, PLOTS, PreloadSet
    from deepmath.sandbox.supervisor.fork_server import PreloadFailed
    from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
    from deepmath.sandbox.supervisor.native_backend import NativeBackend
    from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool

# Loaded when first used: a sandbox imports this package too, and needs none of the supervisor's modules.
_MODULES = {
    "Outcome": "deepmath.executor.v1.executor_pb2",
    "SnippetResult": "deepmath.executor.v1.executor_pb2",
    "ALLOWED_MODULES": "deepmath.sandbox.allowed_modules",
    "Limits": "deepmath.sandbox.limits",
    "MATHS": "deepmath.sandbox.preload_set",
    "NOTHING": "deepmath.sandbox.preload_set",
    "PLOTS": "deepmath.sandbox.preload_set",
    "PLOT_LIBRARIES": "deepmath.sandbox.allowed_modules",
    "PreloadSet": "deepmath.sandbox.preload_set",
    "PreloadFailed": "deepmath.sandbox.supervisor.fork_server",
    "MemoryBudget": "deepmath.sandbox.supervisor.memory_budget",
    "NativeBackend": "deepmath.sandbox.supervisor.native_backend",
    "SandboxPool": "deepmath.sandbox.supervisor.sandbox_pool",
}

__all__ = [
    "ALLOWED_MODULES",
    "MATHS",
    "NOTHING",
    "PLOTS",
    "PLOT_LIBRARIES",
    "Limits",
    "MemoryBudget",
    "NativeBackend",
    "Outcome",
    "PreloadFailed",
    "PreloadSet",
    "SandboxPool",
    "SnippetResult",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
