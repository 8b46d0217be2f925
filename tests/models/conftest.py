"""The embedded model's files, and the modules that build it."""

import importlib
from collections.abc import Callable, Iterator
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
def build_module() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the build program by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BUILD))
        yield importlib.import_module


@pytest.fixture(scope="session")
def corpus(build_module: Callable[[str], ModuleType]) -> ModuleType:
    """The module that makes the training corpus."""
    return build_module("training_corpus")
