"""Replacement of a library's function wherever it has been imported."""

import sys
from collections.abc import Callable
from typing import Any


def replace_function(original: Callable[..., Any], replacement: Callable[..., Any]) -> None:
    """Replace `original` in every loaded module that has it under its own name. Later imports find the replacement."""
    name = original.__name__
    for module in tuple(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(name) is original:
            vars(module)[name] = replacement
