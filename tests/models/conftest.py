"""The embedded model's files, and the modules that build it."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepmath.local_stack.stack import EMBEDDED_MODEL

BUILD = Path(__file__).resolve().parents[2] / "models" / "tiny-math" / "build"


@pytest.fixture(scope="session")
def model_directory() -> Path:
    """The folder of the embedded model."""
    return EMBEDDED_MODEL


@pytest.fixture(scope="session")
def tokenizer(model_directory: Path) -> Any:
    """The embedded model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_directory, local_files_only=True)


@pytest.fixture(scope="session")
def build_module() -> Callable[[str], ModuleType]:
    """Imports a module of the build program by name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"tiny_math_{name}", BUILD / f"{name}.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def corpus(build_module: Callable[[str], ModuleType]) -> ModuleType:
    """The module that makes the training corpus."""
    return build_module("training_corpus")
