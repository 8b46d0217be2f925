"""Access of a connection to its services, each found or started when it is first needed."""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.local_stack.detached_stack import find_detached
from deepmath.local_stack.stack import LocalStack, figure_options, generator_options
from deepmath.local_stack.stack_record import StackRecord, StackSettings
from deepmath.user_files import user_path

_Held = TypeVar("_Held")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceChoice:
    """The services that a caller wants: addresses, or a model for a generator on this machine.

    Raises:
        InvalidRequest: The two are mixed.
    """

    generator: str | None = None
    executor: str | None = None
    model: str | None = None
    adapter: str | None = None
    prompt: str | None = None
    dialect: str | None = None
    tls: str | Path | None = None
    token_file: str | Path | None = None
    figures: bool = False
    """Whether an executor on this machine is to draw figures, where matplotlib is installed."""
    patience_s: float = 60.0
    """Timeout for reaching an executor with capacity."""

    def __post_init__(self) -> None:
        if self.generator and self.has_settings:
            raise InvalidRequest(
                "model, adapter, prompt and dialect apply to a generator that is started here; leave them out, "
                "or the generator's address"
            )

    @property
    def has_settings(self) -> bool:
        """Whether the generator is to have other settings than the default."""
        return any((self.model, self.adapter, self.prompt, self.dialect))

    @property
    def executor_options(self) -> list[str]:
        """Options of an executor that is started here."""
        return figure_options() if self.figures else []

    def stack_settings(self) -> tuple[str, list[str]]:
        """Return the model and the options of a generator that is started here.

        Raises:
            InvalidRequest: There is no such model, adapter or dialect.
        """
        return generator_options(self.model, self.adapter, self.prompt, self.dialect)


def _detached(wanted: StackSettings | None = None) -> StackRecord | None:
    found = find_detached(wanted)
    if found.reason:
        log.warning("%s; not using it", found.reason)
    return found.stack


class ServiceAccess:
    """The clients of a connection: to the given addresses, or to the detached stack, or to services started here.

    An asynchronous context manager.

    Raises:
        InvalidRequest: There is no such model, adapter or dialect.
    """

    def __init__(self, choice: ServiceChoice) -> None:
        self._choice = choice
        choice.stack_settings()  # rejects mistakes now
        self._tls = user_path(choice.tls) if choice.tls else None
        self._token_file = user_path(choice.token_file) if choice.token_file else None
        self._held = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._closed = False
        self._generator: GeneratorClient | None = None
        self._executor: ExecutorClient | None = None
        self._own_executor = ""  # address of the one started here

    async def generator(self) -> GeneratorClient:
        """Return the client of the generator.

        Raises:
            Unavailable: It does not start.
            WrongOrder: The connection is closed.
        """
        async with self._lock:
            self._check_open()
            if self._generator is None:
                address = self._choice.generator or self._detached_generator() or await self._start_generator()
                client = GeneratorClient(address, tls=self._tls, token_file=self._token_file)
                self._generator = await self._hold(client)
            return self._generator

    async def executor(self) -> ExecutorClient:
        """Return the client of the executor.

        Raises:
            Unavailable: It does not start.
            WrongOrder: The connection is closed.
            InvalidRequest: The connection has the address of a generator only.
        """
        async with self._lock:
            self._check_open()
            if self._executor is None:
                address, patience_s = await self._executor_address(), self._choice.patience_s
                client = ExecutorClient(address, patience_s, tls=self._tls, token_file=self._token_file)
                self._executor = await self._hold(client)
            return self._executor

    async def close(self) -> None:
        """End calls in flight, and stop what was started here. Idempotent."""
        self._closed = True
        await self._held.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _hold(self, block: AbstractAsyncContextManager[_Held]) -> _Held:
        """Enter a block that ends with the connection, which may be closed meanwhile."""
        held = await self._held.enter_async_context(block)
        if self._closed:
            await self._held.aclose()
            self._check_open()
        return held

    def _check_open(self) -> None:
        if self._closed:
            raise WrongOrder("the connection is closed; connect again")

    def _detached_generator(self) -> str | None:
        if self._choice.executor:
            return None
        found = _detached(StackSettings.of(*self._choice.stack_settings()) if self._choice.has_settings else None)
        return found.generator or None if found else None

    async def _executor_address(self) -> str:
        if self._choice.executor:
            return self._choice.executor
        if self._choice.generator:
            raise InvalidRequest(
                "a connection to a generator runs no code of yours; give the address of an executor: executor=..."
            )
        if not self._own_executor and (found := _detached()) and await self._is_suitable(found.executor):
            return found.executor
        return await self._start_executor()

    async def _is_suitable(self, address: str) -> bool:
        """Whether an executor on this machine draws figures, if it is to."""
        if not self._choice.executor_options:
            return True
        async with ExecutorClient(address) as probe:
            return "matplotlib" in (await probe.get_info()).versions

    async def _start_executor(self) -> str:
        if not self._own_executor:
            options = {"executor": self._choice.executor_options}
            self._own_executor = (await self._hold(LocalStack(arguments=options))).executor
        return self._own_executor

    async def _start_generator(self) -> str:
        model, options = self._choice.stack_settings()
        log.warning("starting a generator on this machine; loading a model takes half a minute or more")
        executor = self._choice.executor or self._own_executor or None
        arguments = {"generator": options, "executor": self._choice.executor_options}
        started = await self._hold(LocalStack(model, executor=executor, arguments=arguments))
        self._own_executor = self._own_executor or ("" if executor else started.executor)
        return started.generator
