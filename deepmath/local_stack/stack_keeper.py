"""`python -m deepmath.local_stack.stack_keeper SETTINGS`: runs a detached stack until it is idle or gets SIGTERM.

Started by `detached_stack`, which hands it the lock of the state folder and one end of a socket. The keeper answers
there, `ready` or the reason why the stack did not start, and stops if the other end closes before.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from logging.handlers import RotatingFileHandler
from typing import Any, Self

from deepmath.errors import DeepMathError, Overloaded, Unavailable
from deepmath.local_stack.code_fingerprint import code_fingerprint
from deepmath.local_stack.gateway_key import GatewayKey
from deepmath.local_stack.service_distributions import installed_version
from deepmath.local_stack.stack import LocalStack, figure_options
from deepmath.local_stack.stack_idle_time import Clients, stack_clients, stack_idle_seconds
from deepmath.local_stack.stack_record import StackRecord, StackSettings
from deepmath.local_stack.state_folder import StateFolder
from deepmath.observability.logs import TextFormatter
from deepmath.process_identity import ProcessIdentity
from deepmath.rpc.core_logging import silence_core_logging

log = logging.getLogger("deepmath.stack_keeper")

READY = "ready"
"""The answer of a keeper whose stack serves."""

_MAX_LOG_BYTES = 1 << 20
_LEAST_WAIT_S, _UNKNOWN_S = 0.2, 5.0
_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class KeeperSettings:
    """The arguments of the keeper; `lock` is a descriptor that it inherits."""

    stack: StackSettings
    idle_s: float
    lock: int

    def command(self, answer: int) -> list[str]:
        """Return the command line of a keeper that answers on the descriptor `answer`."""
        return [sys.executable, "-P", "-m", __spec__.name, json.dumps(asdict(self)), str(answer)]

    @classmethod
    def loads(cls, text: str) -> Self:
        """Return the settings from the command line."""
        fields: dict[str, Any] = json.loads(text)
        stack = fields["stack"]
        return cls(
            StackSettings(stack["model"], tuple(stack["options"]), stack["files"]), fields["idle_s"], fields["lock"]
        )


class StackKeeper:
    """One detached stack, from its start to its end."""

    def __init__(self, settings: KeeperSettings, answer: socket.socket) -> None:
        self._settings = settings
        self._answer = answer
        self._folder = StateFolder()
        self._key = GatewayKey.within(self._folder.path)
        self._record = StackRecord(
            ProcessIdentity.of(os.getpid()), settings.stack, settings.idle_s, time.time(), code_fingerprint()
        )

    async def run(self) -> None:
        """Start the stack and keep it until a signal, its idle time or the exit of a service.

        Raises:
            DeepMathError: The stack did not start, or a service exited.
        """
        loop, stop = asyncio.get_running_loop(), _cancel_once()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        self._folder.write_record(self._record.dumps())
        try:
            loop.add_reader(self._answer, stop)  # the other end sends nothing: it has closed
            async with self._stack() as services:
                loop.remove_reader(self._answer)
                await self._keep(services)
        finally:
            self._folder.remove_record()
            self._key.remove()

    def _stack(self) -> LocalStack:
        stack = self._settings.stack
        listen, arguments = {}, {"generator": stack.options, "executor": figure_options()}
        if installed_version("gateway"):
            self._key.create()
            listen["gateway"] = _ANY_PORT
            arguments["gateway"] = ["--tokens", str(self._key.clients)]
        return LocalStack(stack.model or None, listen=listen, arguments=arguments, logs=self._folder.logs)

    async def _keep(self, stack: LocalStack) -> None:
        services = tuple(ProcessIdentity.of(process.pid) for process in stack.processes)
        self._record = replace(
            self._record,
            executor=stack.executor,
            generator=stack.generator,
            gateway=stack.gateway,
            services=services,
            started=time.time(),
        )
        self._folder.write_record(self._record.dumps())
        self._reply(READY)
        log.warning("serving %s", self._settings.stack.title)
        ends = [asyncio.create_task(stack.wait())]
        if self._settings.idle_s:
            ends.append(asyncio.create_task(self._become_idle(self._record)))
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._folder.remove_record()  # no command finds it while it stops
            for end in ends:
                end.cancel()
        for end in done:
            end.result()
        log.warning("stopping after %g s without calls", self._settings.idle_s)

    async def _become_idle(self, addresses: StackRecord) -> None:
        """Return once the stack has been idle, and no command finds it any more."""
        idle_s = self._settings.idle_s
        async with stack_clients(addresses) as clients:
            while True:
                left_s = idle_s - await _idle_seconds(clients)
                if left_s <= 0:
                    self._folder.remove_record()
                    await asyncio.sleep(_LEAST_WAIT_S)  # for commands that have just found it
                    if await _idle_seconds(clients) > _LEAST_WAIT_S:
                        return
                    self._folder.write_record(self._record.dumps())
                await asyncio.sleep(max(left_s, _LEAST_WAIT_S))

    def fail(self, message: str) -> None:
        """Log the failure, and report it if somebody still waits."""
        log.error("%s", message)
        self._reply(message)

    def _reply(self, message: str) -> None:
        with suppress(OSError):
            self._answer.sendall(message.encode())
        self._answer.close()


def _cancel_once() -> Callable[[], None]:
    """Return a function that cancels the current task, but does not interrupt its cleanup when it is called again."""
    task = asyncio.current_task()
    assert task

    def cancel() -> None:
        if not task.cancelling():
            task.cancel()

    return cancel


async def _idle_seconds(clients: Clients) -> float:
    """Return for how long all services have been idle; 0 if one does not answer, which a busy one may not."""
    try:
        return await stack_idle_seconds(clients)
    except (Unavailable, Overloaded):
        await asyncio.sleep(_UNKNOWN_S)
        return 0.0


def main() -> None:
    """Keep the stack with the settings in the first argument."""
    silence_core_logging()
    settings, answer = KeeperSettings.loads(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    for descriptor in (settings.lock, answer.fileno()):
        os.set_inheritable(descriptor, False)  # the services do not hold them
    keeper = StackKeeper(settings, answer)
    file = RotatingFileHandler(StateFolder().logs / "keeper.log", maxBytes=_MAX_LOG_BYTES, backupCount=1)
    file.setFormatter(TextFormatter())
    logging.getLogger().addHandler(file)
    try:
        asyncio.run(keeper.run())
    except asyncio.CancelledError:
        log.warning("stopped by a signal")
    except DeepMathError as error:
        keeper.fail(str(error))
    except Exception:
        log.exception("unhandled exception")
        keeper.fail("the detached stack failed by an unhandled exception")


if __name__ == "__main__":
    main()
