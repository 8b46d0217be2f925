"""The kernel, a subclass of ipykernel's: it speaks Jupyter's protocol and runs no code of a cell itself."""

import asyncio
import signal
from contextvars import copy_context
from typing import Any

from ipykernel.kernelapp import IPKernelApp, kernel_aliases
from ipykernel.kernelbase import Kernel
from traitlets import Dict, Float, Int, Type, Unicode

from deepmath import __version__
from deepmath.clients import OutputHandler
from deepmath.errors import DeepMathError
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.integrations.jupyter.cell_completeness import completeness
from deepmath.integrations.jupyter.cell_messages import (
    failure_error,
    interrupt_error,
    outcome_name,
    output_messages,
    result_error,
    source,
    stream_message,
)
from deepmath.integrations.jupyter.cell_runner import CellRun, CellRunner
from deepmath.sdk.service_access import ServiceChoice


class SandboxKernel(Kernel):
    """Runs cells in a session of an executor.

    A reply to `execute_request` has two fields beyond the protocol: `outcome`, the executor's or `INTERRUPTED` or
    `NOT_RUN` (an infrastructure failure), and `state_lost`. No snippet can forge them.
    """

    implementation = "deepmath"
    implementation_version = __version__
    banner = f"Python in the sandbox of DeepMath services {__version__}"
    language_info = {  # noqa: RUF012 - as in the base class
        "name": "python",
        "version": "3",
        "mimetype": "text/x-python",
        "file_extension": ".py",
        "pygments_lexer": "python3",
        "codemirror_mode": {"name": "python", "version": 3},
    }

    executor = Unicode(help="Executor address. Default: the detached one, or start one.").tag(config=True)
    tls = Unicode(help="Folder with tls.crt, tls.key and ca.crt. Default: DEEPMATH_TLS.").tag(config=True)
    token_file = Unicode(help="File with a token. Default: DEEPMATH_TOKEN_FILE.").tag(config=True)
    seed = Int(0, min=0, help="Seed of random and numpy.random.").tag(config=True)
    wall_seconds = Float(0.0, min=0.0, help="Wall-clock limit per cell. Default: the executor's.").tag(config=True)
    memory_mib = Int(0, min=0, help="Memory limit of the session, in MiB. Default: the executor's.").tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        choice = ServiceChoice(
            executor=self.executor or None, tls=self.tls or None, token_file=self.token_file or None, figures=True
        )
        limits = pb.Limits(wall_ms=round(1000 * self.wall_seconds), memory_bytes=self.memory_mib << 20)
        self._cells = CellRunner(choice, self.seed, limits)

    @property
    def kernel_info(self) -> dict[str, Any]:
        """Information for front ends: without a debugger and parallel subshells, which ipykernel's own kernel has."""
        return {**super().kernel_info, "supported_features": []}

    async def do_execute(self, code: str, silent: bool, *_: Any, **__: Any) -> dict[str, Any]:
        """Run a cell and return the content of the reply. Standard input is empty, whatever the front end allows."""
        if not code.strip():
            return self._reply("OK")
        try:
            run = await asyncio.wrap_future(self._cells.start(source(code), None if silent else self._publisher()))
        except asyncio.CancelledError:
            return self._failed(silent, interrupt_error(), "INTERRUPTED")
        except DeepMathError as error:
            return self._failed(silent, failure_error(error), "NOT_RUN")
        return self._finished(silent, run)

    async def do_is_complete(self, code: str) -> dict[str, str]:
        """Return whether a front end in a terminal should run the code, or wait for more lines."""
        return completeness(code)

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End the session. A restarted kernel is a new process, with a new session."""
        await asyncio.to_thread(self._cells.close)
        return {"status": "ok", "restart": restart}

    async def interrupt_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Interrupt the running cell, as the kernelspec's interrupt mode `message` asks for."""
        self._cells.interrupt()
        if self.session:
            self.session.send(stream, "interrupt_reply", {"status": "ok"}, parent, ident=ident)

    def pre_handler_hook(self) -> None:
        """Let SIGINT, the other way of a front end to interrupt, do the same; ipykernel's would end the process."""
        signal.signal(signal.SIGINT, lambda *_: self._cells.interrupt())

    def post_handler_hook(self) -> None:
        """Ignore SIGINT between requests."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _publisher(self) -> OutputHandler:
        """Return the function that publishes the output of the current cell, from any thread, before its result."""
        loop, context = asyncio.get_running_loop(), copy_context()  # the context names the cell as the parent

        def publish(name: str, text: str) -> None:
            message = stream_message(name, text)
            loop.call_soon_threadsafe(self.send_response, self.iopub_socket, *message, context=context)

        return publish

    def _finished(self, silent: bool, run: CellRun) -> dict[str, Any]:
        if not silent:
            for message in output_messages(run, self.execution_count):
                self.send_response(self.iopub_socket, *message)
        outcome, lost = outcome_name(run.result), run.result.state_lost
        error = result_error(run.result)
        return self._failed(silent, error, outcome, lost) if error else self._reply(outcome, lost)

    def _failed(self, silent: bool, error: dict[str, Any], outcome: str, state_lost: bool = False) -> dict[str, Any]:
        if not silent:
            self.send_response(self.iopub_socket, "error", error)
        return self._reply(outcome, state_lost) | {"status": "error", **error}

    def _reply(self, outcome: str, state_lost: bool = False) -> dict[str, Any]:
        return {
            "status": "ok",
            "execution_count": self.execution_count,
            "payload": [],
            "user_expressions": {},
            "outcome": outcome,
            "state_lost": state_lost,
        }


class SandboxKernelApp(IPKernelApp):
    """The kernel's program: ipykernel's, with the options of the sandbox."""

    name = "deepmath-kernel"
    kernel_class = Type(SandboxKernel, klass=Kernel)
    classes = [SandboxKernel]  # noqa: RUF012 - as in the base class
    aliases = Dict(
        {
            **kernel_aliases,
            "executor": "SandboxKernel.executor",
            "tls": "SandboxKernel.tls",
            "token-file": "SandboxKernel.token_file",
            "seed": "SandboxKernel.seed",
            "wall-seconds": "SandboxKernel.wall_seconds",
            "memory-mib": "SandboxKernel.memory_mib",
        }
    )
