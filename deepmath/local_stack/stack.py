"""The local stack: executor, generator and gateway as child processes that stop with a block."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from deepmath.clients.model_files import check_adapter, check_model
from deepmath.dialects import find_dialect
from deepmath.errors import InvalidRequest
from deepmath.local_stack.local_services import LocalServices

EMBEDDED_MODEL = Path(str(files("deepmath.local_stack") / "tiny-math"))
# The model is small: float32 costs nothing, and compilation would take longer than it saves.
EMBEDDED_OPTIONS = ("--dtype", "float32", "--eager")
_GATEWAY_OPTIONS = ("--drain-seconds", "5")  # event streams of MCP's clients end with it alone


class LocalStack(LocalServices):
    """An executor, and with a `model` also a generator. An asynchronous context manager.

    The attributes `executor` and `generator` are their addresses: unix sockets of this stack by default, or those in
    `listen`, by service name. With the argument `executor`, the address of a running one, none is started. A gateway is
    started if `listen` has an address for it; the attribute `gateway` is that address, empty without one.
    `arguments` are more options of a service, by its name; `niceness` is that of `LocalServices`. Entering raises
    Unavailable if a service does not start.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        executor: str | None = None,
        listen: dict[str, str] | None = None,
        arguments: Mapping[str, Sequence[str]] | None = None,
        show_logs: bool = False,
        logs: Path | None = None,
        niceness: int = 0,
    ) -> None:
        super().__init__(show_logs, logs, niceness)
        self._model = model
        self._starts_executor = executor is None
        listen = listen or {}
        self.executor = executor or listen.get("executor") or self.socket("executor")
        self.generator = listen.get("generator") or (self.socket("generator") if model else "")
        self.gateway = listen.get("gateway", "")
        if self.executor.endswith(":0"):
            raise InvalidRequest("the executor needs a fixed port: the generator connects to it")
        self._arguments = arguments or {}

    async def __aenter__(self) -> Self:
        try:
            await self._start_backends()
            await self._start_gateway()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _start_backends(self) -> None:
        starts = []
        if self._starts_executor:
            starts.append(self._start("executor", self.executor))
        if self._model:
            starts.append(self._start("generator", self.generator, "--executor", self.executor, "--model", self._model))
        addresses = await asyncio.gather(*starts)
        self.generator = addresses[-1] if self._model else self.generator  # the actual port for port 0

    async def _start_gateway(self) -> None:
        if self.gateway:
            options = ["--executor", self.executor, *_GATEWAY_OPTIONS]
            options += ["--generator", self.generator] if self.generator else []
            self.gateway = await self._start("gateway", self.gateway, *options)

    async def _start(self, name: str, listen: str, *options: str) -> str:
        return await self.start(name, *options, *self._arguments.get(name, ()), listen=listen)


def figure_options() -> list[str]:
    """Return the options with which an executor draws figures; none where matplotlib is not installed."""
    return ["--preload=plots"] if find_spec("matplotlib") else []


def generator_options(
    model: str | None, adapter: str | None, prompt: str | None = None, dialect: str | None = None
) -> tuple[str, list[str]]:
    """Return the model that a stack serves, by default the embedded one, and the generator's options for it.

    Checked here, since a generator needs half a minute to fail.

    Raises:
        InvalidRequest: There is no such model, adapter or dialect.
    """
    if adapter:
        check_adapter(adapter)
    options = ["--adapter", adapter] if adapter else []
    options += ["--prompt", prompt] if prompt else []
    options += ["--dialect", find_dialect(dialect).name] if dialect else []
    if model is None:
        return str(EMBEDDED_MODEL), [*options, *EMBEDDED_OPTIONS]
    check_model(model)
    return model, options
