"""A running gateway over the shared executor and the shared engine, and the environments of vendors' clients."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx
import pytest
from deepmath_gateway.config import GatewayConfig
from deepmath_gateway.gateway_app import Gateway
from deepmath_gateway.http_server import HttpServer
from support.vendor_environment import VendorEnvironment, make_environment

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.local_stack.stack import LocalStack


@dataclass
class ServedGateway:
    """A gateway in this process."""

    gateway: Gateway
    server: HttpServer

    @property
    def url(self) -> str:
        """Its address as clients take it, without a path."""
        return f"{'https' if self.gateway.config.tls else 'http'}://{self.server.address}"

    def client(self, **options) -> httpx.AsyncClient:
        """A new client, which ignores the environment's proxies: `async with served.client() as http`."""
        return httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60, **options)


ServeGateway = Callable[..., AbstractAsyncContextManager[ServedGateway]]


@pytest.fixture(scope="session")
def serve_gateway() -> ServeGateway:
    """Serve a gateway for a block: `async with serve_gateway(executor=ADDRESS, generator=ADDRESS, **settings)`."""

    @asynccontextmanager
    async def serve(**settings) -> AsyncIterator[ServedGateway]:
        config = GatewayConfig(**settings)
        async with AsyncExitStack() as block:
            gateway = Gateway(config)
            if config.generator:
                gateway.generator = await block.enter_async_context(GeneratorClient(config.generator))
            if config.executor:
                client = ExecutorClient(config.executor, config.executor_patience_s, "gateway")
                gateway.executor = await block.enter_async_context(client)
            server = await HttpServer.start(gateway)
            try:
                yield ServedGateway(gateway, server)
            finally:
                await server.stop(0)

    return serve


@pytest.fixture(scope="session")
async def gateway_executor() -> AsyncIterator[str]:
    """The address of an executor for gateways, whose sessions stay open while they are idle."""
    async with LocalStack() as stack:
        yield stack.executor


@pytest.fixture(scope="session")
async def gateway_executor_client(gateway_executor: str) -> AsyncIterator[ExecutorClient]:
    """A client of that executor, to see what runs there."""
    async with ExecutorClient(gateway_executor) as client:
        yield client


@pytest.fixture(scope="session")
async def gateway(serve_gateway: ServeGateway, gateway_executor: str) -> AsyncIterator[ServedGateway]:
    """A gateway over an executor, without a generator."""
    async with serve_gateway(executor=gateway_executor) as served:
        yield served


@pytest.fixture(scope="session")
async def full_gateway(
    serve_gateway: ServeGateway, gateway_executor: str, generator_address: str
) -> AsyncIterator[ServedGateway]:
    """A gateway over an executor and the shared generator with the embedded model."""
    async with serve_gateway(executor=gateway_executor, generator=generator_address) as served:
        yield served


@pytest.fixture(scope="session")
async def plotting_gateway(serve_gateway: ServeGateway) -> AsyncIterator[ServedGateway]:
    """A gateway over an executor with matplotlib."""
    stack = LocalStack(arguments={"executor": ["--preload", "plots"]})
    async with stack, serve_gateway(executor=stack.executor) as served:
        yield served


@pytest.fixture
async def http(gateway: ServedGateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `gateway`."""
    async with gateway.client() as client:
        yield client


@pytest.fixture(scope="session")
def vendor_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VendorEnvironment]:
    """Return the environment with the pins in constraints/vendors/NAME.txt: `vendor_environment("openai")`.

    Tests with it are marked `vendors`. It is made at its first use, which counts for the test's timeout.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # of all processes of pytest-xdist
    return partial(make_environment, base=shared)
