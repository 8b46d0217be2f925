"""Executor processes and the agent loop around a scripted engine, with metrics, traces and logs."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_generator.service import SERVICE_NAME, GeneratorServicer
from support.executor_process import Executor, running
from support.scripted_engine import ScriptedEngine

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.observability import tracing
from deepmath.serving.grpc_server import GrpcServer

from .collector import Collector, collecting


@pytest.fixture(scope="package")
async def collector() -> AsyncIterator[Collector]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")  # ms between exports, in executors and in this process
        async with collecting() as collector:
            yield collector


@pytest.fixture(scope="package")
async def observed(tmp_path_factory, collector) -> AsyncIterator[Executor]:
    """An executor with metrics, traces, JSON logs and an audit file."""
    folder = tmp_path_factory.mktemp("observed")
    options = ("--metrics-listen=127.0.0.1:0", f"--otlp={collector.url}", "--log-format=json", "--log-level=info")
    async with running(folder, *options, f"--audit-file={folder}/audit", "--waiting-sandboxes=1") as executor:
        yield executor


@dataclass
class Generator:
    client: GeneratorClient
    metrics: GeneratorMetrics
    address: str


@pytest.fixture(scope="package")
def generating() -> Callable[..., AbstractAsyncContextManager[Generator]]:
    """A function that serves a generator for a block: `async with generating(executor) as generator`."""

    @asynccontextmanager
    async def serve(executor: Path | str, **settings: Any) -> AsyncIterator[Generator]:
        config = GeneratorConfig(model=str(EMBEDDED_MODEL), **settings)
        metrics = GeneratorMetrics()
        async with ExecutorClient(f"unix:{executor}", patience_s=2) as executors:
            template = PromptTemplate.load(config.model)
            servicer = GeneratorServicer(config, ScriptedEngine(), executors, template, metrics)
            server = await GrpcServer.start(config, {SERVICE_NAME: servicer.register}, metrics)
            async with GeneratorClient(server.address) as client:
                yield Generator(client, metrics, server.address)
            await server.stop(0)

    return serve


@pytest.fixture(scope="package")
async def generator(generating, observed) -> AsyncIterator[Generator]:
    async with generating(observed.log.parent / "socket") as generator:
        yield generator


@pytest.fixture
async def traced(collector) -> AsyncIterator[None]:
    """Export the spans of this process, generator and client in one, to the collector."""
    async with tracing.export_spans("generator", collector.url):
        yield
