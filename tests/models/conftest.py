"""The embedded model's files, and the modules that build it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepmath.local_stack.stack import EMBEDDED_MODEL


@pytest.fixture(scope="session")
def model_directory() -> Path:
    return EMBEDDED_MODEL


@pytest.fixture(scope="session")
def tokenizer(model_directory: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_directory, local_files_only=True)


@pytest.fixture(scope="session")
def corpus(model_directory: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_math_corpus", model_directory / "build" / "corpus.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
