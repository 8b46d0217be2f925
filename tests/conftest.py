"""The real stack, started once: vLLM with the embedded model in this process, the executor in its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

# Read when vLLM is imported, and by commands.
os.environ |= {
    "DEEPMATH_STATE": f"{os.devnull}/deepmath",  # a detached stack of the developer's is not found
    "HF_HUB_OFFLINE": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a background job; processes of tests would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

from deepmath_generator.config import GeneratorConfig
from support.fixture_timeout import pytest_fixture_setup  # noqa: F401 - a pytest hook
from support.ports import free_ports

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.local_stack.stack import EMBEDDED_MODEL, LocalStack
from deepmath.serving.grpc_server import GrpcServer

if TYPE_CHECKING:  # vLLM is slow to import
    from deepmath_generator.vllm_engine import VllmEngine

# By the fixtures that a test uses, however indirectly.
MARKED_BY = {
    "engine": "vllm",
    "docker_engine": "containers",
    "image": "containers",
    "vendor_environment": "vendors",
}
IN_CONTAINERS = {"docker", "lean_docker", "image"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need, and keep tests that share something expensive on one worker."""
    for item in items:
        assert isinstance(item, pytest.Function)
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        marks = {mark for fixture, mark in MARKED_BY.items() if fixture in item.fixturenames}
        if (kind := parameters.get("executor")) in IN_CONTAINERS:
            marks.add("containers")
        for mark in marks:
            item.add_marker(mark)
        if shared := _shared(item, kind, marks):
            item.add_marker(pytest.mark.xdist_group(shared))


def _shared(item: pytest.Function, kind: object, marks: set[str]) -> str | None:
    """Return the name of what `item` shares with other tests: an engine, executors, rendered manifests, its module.

    Tests of commands share nothing, and are long: each goes to the worker that is free.
    """
    if "vllm" in marks:
        return "engine"
    folder = item.path.parent.name
    if kind:
        return f"{folder} {kind}"
    if folder == "cli":
        return None
    return folder if folder == "deploy" and not marks else str(item.path)


@pytest.fixture(scope="session")
async def executor_address() -> AsyncIterator[str]:
    """The address of an executor that all tests share."""
    async with LocalStack() as stack:
        yield stack.executor


@pytest.fixture(scope="session")
async def executor(executor_address: str) -> AsyncIterator[ExecutorClient]:
    """A client of the shared executor."""
    async with ExecutorClient(executor_address) as client:
        yield client


@pytest.fixture(scope="session")
def config() -> GeneratorConfig:
    """The configuration of the shared generator."""
    return GeneratorConfig(
        model=str(EMBEDDED_MODEL), dtype="float32", eager=True, temperature=1.0, top_p=1.0, top_k=0, snippet_ms=5000
    )


@pytest.fixture(scope="session")
async def engine(config: GeneratorConfig) -> AsyncIterator["VllmEngine"]:
    """vLLM with the embedded model."""
    ours = dict(os.environ)
    from deepmath_generator.vllm_engine import VllmEngine

    engine = VllmEngine.start(config)
    os.environ.clear()  # vLLM sets LD_PRELOAD there, which processes that tests start would inherit
    os.environ.update(ours)
    await engine.warm_up()
    yield engine
    engine.stop()


@dataclass
class Served:
    """A generator around the engine that all tests share."""

    engine: "VllmEngine"
    """Its own view of that engine, at its own version of the policy."""
    address: str


@pytest.fixture(scope="session")
def serve_generator(config: GeneratorConfig, engine, executor) -> Callable[..., AbstractAsyncContextManager[Served]]:
    """Serve a further generator, at policy version 0, for a block: `async with serve_generator(config, ...)`.

    Its policy updates end with the block: other generators keep the model as loaded.
    """
    from deepmath_generator.prompt_template import PromptTemplate
    from deepmath_generator.service import SERVICE_NAME, GeneratorServicer
    from deepmath_generator.vllm_engine import VllmEngine

    template = PromptTemplate.load(config.model)

    @asynccontextmanager
    async def serve(config=config, executor=executor, servicer=GeneratorServicer) -> AsyncIterator[Served]:
        own = VllmEngine(engine._llm, engine.model, config)
        server = await GrpcServer.start(config, {SERVICE_NAME: servicer(config, own, executor, template).register})
        yield Served(own, server.address)
        await server.stop(0)
        for adapter in await engine._llm.list_loras():
            await engine._llm.remove_lora(adapter)

    return serve


@pytest.fixture
async def fresh_generator(serve_generator) -> AsyncIterator[str]:
    """The address of a generator whose policy a test may update."""
    async with serve_generator() as served:
        yield served.address


@pytest.fixture(scope="session")
async def generator_address(serve_generator) -> AsyncIterator[str]:
    """The address of a generator that all tests share; no test updates its policy."""
    async with serve_generator() as served:
        yield served.address


@pytest.fixture(scope="session")
async def generator(generator_address: str) -> AsyncIterator[GeneratorClient]:
    """A client of the shared generator."""
    async with GeneratorClient(generator_address) as client:
        yield client


@pytest.fixture
def free_port() -> int:
    """A free port of 127.0.0.1."""
    (port,) = free_ports(1)
    return port


@dataclass
class Ended:
    """A finished command."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def deepmath():
    """Run the command line as a user does: `await deepmath("solve", "...", stdin="")`."""

    async def run(*arguments: str, stdin: str = "") -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from deepmath.cli.main import main; main()", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        ended = Ended(process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in ended.err, ended.err
        return ended

    return run
