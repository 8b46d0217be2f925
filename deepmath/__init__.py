"""DeepMath services: contracts, clients, sandbox, data and command line, without torch, vLLM or TRL.

`connect` and `connect_async` are those of `deepmath.sdk`, imported when they are first used: every other module of this
package lies below that one. `__init__.pyi` has their types, as SPEC 1 of Scientific Python proposes for lazy loading.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_SDK = ("connect", "connect_async")


def __getattr__(name: str) -> Any:
    if name in _SDK:
        return getattr(import_module("deepmath.sdk"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_SDK]
