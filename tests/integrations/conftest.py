"""Executors and generators for callers that know no asyncio."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deepmath.integrations.smolagents import DeepMathExecutor, DeepMathModel

from .scripted_generator import Saying, saying


@pytest.fixture
def new_executor(executor_address: str) -> Iterator[Callable[..., DeepMathExecutor]]:
    """Makes executors on the shared service: `new_executor(timeout_seconds=1)`."""
    made: list[DeepMathExecutor] = []

    def new(imports: Any = (), **options: Any) -> DeepMathExecutor:
        made.append(DeepMathExecutor(imports, executor_address, **options))
        return made[-1]

    yield new
    for executor in made:
        executor.cleanup()


@pytest.fixture
def executor(new_executor) -> DeepMathExecutor:
    return new_executor()


@pytest.fixture
def generator(executor_address: str) -> Iterator[Saying]:
    """A generator that says what a test wants it to say."""
    with saying(executor_address) as generator:
        yield generator


@pytest.fixture
def model(generator: Saying) -> Iterator[DeepMathModel]:
    """A model of that generator."""
    with DeepMathModel(generator.address) as model:
        yield model


@pytest.fixture(scope="session")
def real() -> Iterator[DeepMathModel]:
    """The embedded model, on a local stack as users start it."""
    with DeepMathModel(temperature=0.0) as model:
        yield model
