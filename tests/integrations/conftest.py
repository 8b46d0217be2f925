"""Fixtures of the integrations: executors, models and generators for synchronous callers."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from deepmath.integrations.smolagents import DeepMathExecutor, DeepMathModel

from .scripted_generator import ScriptedGenerator, serve_scripted


@pytest.fixture
def new_executor(executor_address: str) -> Iterator[Callable[..., DeepMathExecutor]]:
    """Creates executors on the shared service: `new_executor(timeout_seconds=1)`."""
    created: list[DeepMathExecutor] = []

    def new(imports: Any = (), **options: Any) -> DeepMathExecutor:
        created.append(DeepMathExecutor(imports, executor_address, **options))
        return created[-1]

    yield new
    for executor in created:
        executor.cleanup()


@pytest.fixture
def code_executor(new_executor) -> DeepMathExecutor:
    """An executor with the default options."""
    return new_executor()


@pytest.fixture
def scripted_generator(executor_address: str) -> Iterator[ScriptedGenerator]:
    """A generator whose output the test sets."""
    with serve_scripted(executor_address) as generator:
        yield generator


@pytest.fixture
def model(scripted_generator: ScriptedGenerator) -> Iterator[DeepMathModel]:
    """The model of `scripted_generator`."""
    with DeepMathModel(scripted_generator.address) as model:
        yield model


@pytest.fixture(scope="session")
async def embedded_model(generator_address: str) -> AsyncIterator[DeepMathModel]:
    """The embedded model on the generator that all tests share. For tests with `in_thread`."""
    model = await asyncio.to_thread(DeepMathModel, generator_address, temperature=0.0)
    yield model
    await asyncio.to_thread(model.cleanup)


def in_thread(test: Callable[..., None]) -> Callable[..., Any]:
    """Run a synchronous test in a thread: the event loop of the session serves the shared generator meanwhile."""

    @functools.wraps(test)
    async def run(**fixtures: Any) -> None:
        await asyncio.to_thread(test, **fixtures)

    return run
