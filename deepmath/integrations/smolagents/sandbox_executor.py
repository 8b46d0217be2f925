"""Python executor for smolagents' code agents: `CodeAgent(executor=DeepMathExecutor())`.

Snippets run in a sandbox without network, files or child processes. Their tools run in this process: a call travels
back over the session, and its result returns as JSON. A tool may use whatever this process may; a snippet can only call
it.
"""

import contextvars
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from smolagents.local_python_executor import CodeOutput, InterpreterError, PythonExecutor
from smolagents.utils import truncate_content

from deepmath.clients import ExecutorClient
from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.integrations.smolagents import variable_transfer
from deepmath.integrations.smolagents.host_tools import Tool, host_tool_functions
from deepmath.integrations.smolagents.interpreter_errors import to_error
from deepmath.integrations.smolagents.smolagents_patches.print_outputs import PRINT_OUTPUTS
from deepmath.integrations.smolagents.variable_transfer import Variable
from deepmath.local_stack.stack import LocalStack
from deepmath.rpc import wire_values
from deepmath.sandbox.background_loop import BackgroundLoop, ClosedError

_CLIENT_NAME = "smolagents"
_OUTPUT_BYTES = 256 << 10  # the default maximum of an executor
_PRINT_CHARACTERS = 50_000  # smolagents' default
_PATIENCE_S = 60.0
_EMBEDDED_PATIENCE_S = 10.0  # nothing restarts an embedded executor


class DeepMathExecutor(PythonExecutor):
    """Runs an agent's snippets in one session of an executor service; variables persist between snippets.

    A context manager; `cleanup` closes the session and stops an embedded executor.

    Args:
        additional_authorized_imports: Modules that snippets need beyond Python's own. A snippet may import all that the
            executor allows; a module that it lacks is an error here.
        executor: Address of a running executor, HOST:PORT or unix:PATH. Default: start an embedded one.
        timeout_seconds: Limit of a snippet's wall-clock and CPU time, tool calls excluded. None: the maximum.
        tool_timeout_seconds: Limit of one tool call.
        max_tool_calls: Tool calls per snippet.
        memory_bytes: Memory limit of the session; 0 is the executor's default.
        max_print_outputs_length: Characters kept of a snippet's output. Default: smolagents' own 50 000.
        seed: Random seed. The same seed and the same snippets give the same results.
        tls: TLS folder, as for `deepmath.clients.ExecutorClient`.
        token_file: Token file, as for `deepmath.clients.ExecutorClient`.

    Raises:
        InterpreterError: The executor lacks an authorized module.
        deepmath.errors.Unavailable: The executor is unreachable, or the embedded one does not start.
        deepmath.errors.InvalidRequest: The address, the seed or a limit is invalid.
    """

    def __init__(
        self,
        additional_authorized_imports: Sequence[str] = (),
        executor: str | None = None,
        *,
        timeout_seconds: float | None = 30.0,
        tool_timeout_seconds: float = 300.0,
        max_tool_calls: int = 100,
        memory_bytes: int = 0,
        max_print_outputs_length: int | None = None,
        seed: int = 0,
        tls: Path | None = None,
        token_file: Path | None = None,
    ) -> None:
        self._loop = BackgroundLoop()
        # Also runs when the program exits; otherwise the embedded executor's socket would remain.
        self.cleanup: Callable[[], None] = weakref.finalize(self, self._loop.close)
        try:
            info = self._loop.run(self._connect(executor, seed, tls, token_file))
            self.authorized_imports = list(info.allowed_modules)
            self._check_imports(additional_authorized_imports)
            if timeout_seconds is not None and not 0 < timeout_seconds < math.inf:
                raise InvalidRequest(f"timeout_seconds is {timeout_seconds}; pass a positive number, or None")
        except BaseException:
            self.cleanup()
            raise
        maximum = info.maximum_limits
        self._seconds = min(maximum.wall_ms, maximum.cpu_ms) / 1e3 if timeout_seconds is None else timeout_seconds
        limit_ms = math.ceil(1e3 * self._seconds)
        self._output_bytes = min(_OUTPUT_BYTES, maximum.output_bytes)
        self._limits = pb.Limits(
            wall_ms=limit_ms, cpu_ms=limit_ms, memory_bytes=memory_bytes, output_bytes=self._output_bytes
        )
        self._tool_seconds, self._tool_calls = tool_timeout_seconds, max_tool_calls
        self._print_characters = max_print_outputs_length or _PRINT_CHARACTERS
        self.state: dict[str, Any] = {PRINT_OUTPUTS: ""}
        """The output of the last snippet. Its variables are in the sandbox."""
        self._tools: dict[str, Tool] = {}
        self._variables: dict[str, Variable] = {}
        self._unsent: set[str] = set()
        self._is_fresh = True
        self._in_use = threading.Lock()

    def send_tools(self, tools: Mapping[str, Tool]) -> None:
        """Make `tools` callable from snippets by name, in place of earlier ones.

        Raises:
            InterpreterError: A snippet of this executor is running (and this a tool that it calls), or it is closed.
        """
        with self._exclusive():
            self._tools = dict(tools)

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Set variables for snippets: JSON values and numpy arrays of numbers.

        Raises:
            InterpreterError: As for `send_tools`; or a variable has another type, or is too large.
        """
        if not variables:
            return
        with self._exclusive():
            sent = {name: Variable.of(name, value) for name, value in variables.items()}
            kept = self._variables | sent
            if sum(variable.size for variable in kept.values()) > variable_transfer.MAX_BYTES:
                raise InterpreterError(f"the variables exceed {variable_transfer.MAX_BYTES >> 20} MiB; send less")
            if variable_transfer.count_calls(kept) > variable_transfer.MAX_CALLS:
                most = variable_transfer.MAX_CALLS - 1
                raise InterpreterError(f"more than {most} variables; send them in a dictionary")
            self._variables = kept
            self._unsent |= sent.keys()

    def __call__(self, code_action: str) -> CodeOutput:
        """Run a snippet and return its value, its printed output, and whether the value is the final answer.

        Raises:
            InterpreterError: The snippet failed, another one is running, or the executor is closed.
            ExecutionTimeoutError: The snippet exceeded `timeout_seconds`.
            deepmath.errors.DeepMathError: Infrastructure failure: no executor could run the snippet.
        """
        if not isinstance(code_action, str):
            raise InterpreterError(f"a snippet is text, not {type(code_action).__name__}")
        with self._exclusive():
            self.state[PRINT_OUTPUTS] = ""
            answers: list[Any] = []
            try:
                result = self._loop.run(self._run(code_action, answers.append))
            except ClosedError:
                raise InterpreterError("this executor was closed while it ran a snippet") from None
            self._is_fresh |= result.state_lost
            logs = truncate_content(result.stdout, max_length=self._print_characters)
            self.state[PRINT_OUTPUTS] = logs
            if answers:  # whatever the snippet did afterwards
                return CodeOutput(output=answers[0], logs=logs, is_final_answer=True)
            if error := to_error(result, code_action, self.authorized_imports, self._seconds):
                raise error
            return CodeOutput(output=self._parse_value(result), logs=logs, is_final_answer=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    async def _connect(
        self, address: str | None, seed: int, tls: Path | None, token_file: Path | None
    ) -> pb.GetInfoResponse:
        """Open the session, on an embedded executor if there is no address, and return the executor's information."""
        stack = await self._loop.hold(LocalStack(executor=address))
        self.address = stack.executor
        # The private socket of an embedded executor needs no credentials.
        tls, token_file = (tls, token_file) if address else (None, None)
        patience_s = _PATIENCE_S if address else _EMBEDDED_PATIENCE_S
        client = await self._loop.hold(
            ExecutorClient(stack.executor, patience_s, _CLIENT_NAME, tls=tls, token_file=token_file)
        )
        self._session = await self._loop.hold(client.session(seed))
        return await client.get_info()

    def _check_imports(self, authorized: Sequence[str]) -> None:
        if isinstance(authorized, str):
            raise InterpreterError("additional_authorized_imports must be a list of modules: put the name in brackets")
        roots = {name.partition(".")[0] for name in authorized} - {"*"}
        if missing := sorted(roots - set(self.authorized_imports)):
            raise InterpreterError(
                f"Non-installed authorized modules: {', '.join(missing)}. This executor has {self.authorized_imports}: "
                "remove the others from the authorized imports, or give the agent a tool in their place"
            )

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self._loop.closed:
            raise InterpreterError("this executor is closed; create another")
        if not self._in_use.acquire(blocking=False):
            raise InterpreterError(
                "this executor is running a snippet, and runs one at a time: a tool that runs an agent, or another "
                "thread, needs an executor of its own"
            )
        try:
            yield
        finally:
            self._in_use.release()

    async def _run(self, code: str, on_final_answer: Callable[[Any], None]) -> pb.SnippetResult:
        await self._set_up()
        return await self._session.run(
            code,
            self._limits,
            host_functions=host_tool_functions(self._tools, contextvars.copy_context(), on_final_answer),
            host_call_s=self._tool_seconds,
            host_calls=self._tool_calls,
            value_format=pb.VALUE_FORMAT_JSON,
        )

    async def _set_up(self) -> None:
        """Send variables that the sandbox lacks and, to a fresh one, predefined names."""
        names = set(self._variables) if self._is_fresh else self._unsent
        variables = {name: self._variables[name] for name in names}
        code = variable_transfer.PRELUDE if self._is_fresh else ""
        code += variable_transfer.RECEIVE if variables else ""
        if code:
            functions = variable_transfer.transfer_functions(variables) if variables else {}
            calls = variable_transfer.count_calls(variables)
            result = await self._session.run(code, self._limits, host_functions=functions, host_calls=calls)
            self._is_fresh |= result.state_lost
            if error := to_error(result, code, self.authorized_imports, self._seconds):
                raise InterpreterError(f"the variables could not be set: {error}")
            self._is_fresh, self._unsent = False, set()

    def _parse_value(self, result: pb.SnippetResult) -> Any:
        if not result.HasField("value"):
            return None
        try:
            return wire_values.loads(result.value, self._output_bytes)
        except ValueError:  # a hostile snippet may have sent anything
            return result.value
