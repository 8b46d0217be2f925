"""Executor processes and their clients."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.executor_process import Executor, running

from deepmath.clients import ExecutorClient


def client_of(executor: Executor, **options: Any) -> ExecutorClient:
    """Return a client of `executor`, or of a later one at the same address."""
    return ExecutorClient(f"unix:{executor.log.parent}/socket", **options)


@pytest.fixture(scope="session")
async def plain(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor with default settings."""
    async with running(tmp_path_factory.mktemp("plain"), "--waiting-sandboxes=2") as executor:
        yield executor


@pytest.fixture(scope="session")
async def client(plain) -> AsyncIterator[ExecutorClient]:
    async with client_of(plain) as client:
        yield client
