"""Executors and a generator without a model, behind Envoy and HAProxy, in plaintext and with mutual TLS."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.inference_engine import SampledTokens
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_generator.service import SERVICE_NAME, GeneratorServicer
from support.name_server import NameServer, name_server
from support.ports import free_ports
from support.proxies import EXECUTORS, GENERATORS, Kind, Proxy, Upstream, program, proxy
from support.scripted_engine import ScriptedEngine
from support.secured import Authority, Served, serving

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.serving.grpc_server import GrpcServer

NAMES = ("localhost", "executor", "generator"), tuple(f"127.0.0.{number}" for number in range(1, 7))


class WaitingEngine(ScriptedEngine):
    """Samples nothing while it is held, as a model that thinks."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()
        self.released.set()
        self.waiting = 0

    async def generate(self, *arguments: Any, **options: Any) -> SampledTokens:
        self.waiting += 1
        try:
            await self.released.wait()
        finally:
            self.waiting -= 1
        return await super().generate(*arguments, **options)


async def until(holds: Callable[[], Any]) -> float:
    """Return the seconds until `holds()`, which may be a coroutine."""
    started = time.monotonic()
    async with asyncio.timeout(40):
        while True:
            value = holds()
            if await value if inspect.isawaitable(value) else value:
                return time.monotonic() - started
            await asyncio.sleep(0.05)


@dataclass
class Stack:
    """Two executors at 127.0.0.2 and 127.0.0.3, a generator, and a proxy of each kind in front of them."""

    folder: Path
    names: NameServer
    tls: Path | None
    upstream: Upstream
    engine: WaitingEngine
    proxies: dict[Kind, Proxy] = field(default_factory=dict)

    @asynccontextmanager
    async def executor(self, address: str, *options: str) -> AsyncIterator[Served]:
        """Run an executor at a loopback `address` for the duration of the block."""
        folder = self.folder / address
        folder.mkdir(exist_ok=True)
        secure = ("--tls", self.tls) if self.tls else ()
        async with serving(
            "executor", folder, *secure, *options, listen=f"{address}:{self.upstream.executor_port}"
        ) as served:
            yield served

    def executors(self, kind: Kind, **options: Any) -> ExecutorClient:
        """Return a client of the executors behind a proxy."""
        return ExecutorClient(self.proxies[kind].executor, tls=self.tls, **options)

    def generators(self, kind: Kind) -> GeneratorClient:
        """Return a client of the generators behind a proxy."""
        return GeneratorClient(self.proxies[kind].generator, tls=self.tls)

    async def live_sessions(self, address: str) -> int:
        """Return the number of open sessions on the executor at `address`."""
        async with ExecutorClient(f"{address}:{self.upstream.executor_port}", tls=self.tls) as client:
            return (await client.get_info()).load.live_sessions


@asynccontextmanager
async def _generator(stack: Stack, executors: ExecutorClient) -> AsyncIterator[None]:
    listen = f"127.0.0.1:{stack.upstream.generator_port}"
    config = GeneratorConfig(model=str(EMBEDDED_MODEL), listen=listen, tls=stack.tls, max_waiting=1000)
    servicer = GeneratorServicer(config, stack.engine, executors, PromptTemplate.load(config.model))
    server = await GrpcServer.start(config, {SERVICE_NAME: servicer.register})
    try:
        yield
    finally:
        await server.stop(0)
        servicer.close()


@asynccontextmanager
async def _stack(folder: Path, tls: Path | None) -> AsyncIterator[Stack]:
    async with AsyncExitStack() as block:
        names = await block.enter_async_context(name_server())
        names.records = {EXECUTORS: ["127.0.0.2", "127.0.0.3"], GENERATORS: ["127.0.0.1"]}
        executor_port, generator_port = free_ports(2)
        upstream = Upstream(executor_port, generator_port, names.address, tls)
        stack = Stack(folder, names, tls, upstream, WaitingEngine())
        for address in names.records[EXECUTORS]:
            await block.enter_async_context(stack.executor(address, "--connection-age-seconds=3"))
        for kind in get_args(Kind):
            stack.proxies[kind] = await block.enter_async_context(proxy(kind, folder, upstream))
        # Its snippets pass a proxy too.
        executors = await block.enter_async_context(stack.executors("envoy"))
        await block.enter_async_context(_generator(stack, executors))
        for kind in get_args(Kind):
            async with stack.generators(kind) as client:
                await client.get_info(deadline_s=20)
        yield stack


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    for kind in get_args(Kind):
        if not program(kind):
            pytest.skip(f"{kind} is not installed")


@pytest.fixture(scope="module")
async def plaintext(tmp_path_factory) -> AsyncIterator[Stack]:
    async with _stack(tmp_path_factory.mktemp("plaintext"), None) as stack:
        yield stack


@pytest.fixture(scope="module")
async def secured(tmp_path_factory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder / "authority")
    async with _stack(folder, authority.issue("proxy", NAMES)) as stack:
        yield stack


@pytest.fixture(scope="module", params=["plaintext", "secured"])
def stack(request) -> Stack:
    stack: Stack = request.getfixturevalue(request.param)
    return stack


@pytest.fixture(params=get_args(Kind))
def kind(request) -> Kind:
    kind: Kind = request.param
    return kind
