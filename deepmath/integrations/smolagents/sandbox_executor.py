"""smolagents' code agents in our sandbox: `CodeAgent(executor=DeepMathExecutor())`.

A snippet runs in a sandbox without network, files or children. Its tools do not: a call travels out over the session,
the tool runs in this process, and what it returns travels back as JSON. So a tool may use whatever this process may,
while the snippet can do no more than call it.
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
from deepmath.integrations.background_loop import BackgroundLoop, ClosedError
from deepmath.integrations.smolagents import host_tools as tools_module
from deepmath.integrations.smolagents import variable_transfer as variables_module
from deepmath.integrations.smolagents.agent_errors import to_error
from deepmath.integrations.smolagents.variable_transfer import Variable
from deepmath.local_stack.stack import LocalStack
from deepmath.rpc import wire_values

_CLIENT_NAME = "smolagents"
_OUTPUT_BYTES = 256 << 10  # the executor's maximum unless it is configured otherwise
_PRINTS_CHARACTERS = 50_000  # smolagents' own
_PATIENCE_S = 60.0
_OWN_PATIENCE_S = 10.0  # one of our own that has died does not come back


class DeepMathExecutor(PythonExecutor):
    """Runs an agent's snippets in one session of an executor service; variables live from snippet to snippet.

    `additional_authorized_imports` are modules that snippets need beside Python's own; a snippet may import whatever
    the executor allows, and what it does not have is an error here. `executor` is the address of a running executor,
    HOST:PORT or unix:PATH; without one an embedded executor is started, and ended by `cleanup`. `tls` and `token_file`
    are as in `deepmath.clients.ExecutorClient`.

    `timeout_seconds` is the limit of a snippet's wall-clock and processor time, to which the time in tools does not
    count (None: the highest that the executor allows); `tool_timeout_seconds` that of each call of a tool, and
    `max_tool_calls` how many one snippet may make. `memory_bytes` is the snippets' memory (0: the executor's default),
    and `max_print_outputs_length` how many characters of what is printed are kept. The same `seed` and the same
    snippets give the same results.

    Raises:
        InterpreterError: a module is not there in the executor.
        deepmath.errors.Unavailable: no executor answers, or the embedded one cannot be started.
        deepmath.errors.InvalidRequest: the address, the seed or a limit is none.
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
        # At the end of the program too, or the embedded executor's socket would be left behind.
        self.cleanup: Callable[[], None] = weakref.finalize(self, self._loop.close)
        try:
            info = self._loop.run(self._connect(executor, seed, tls, token_file))
            self.authorized_imports = list(info.allowed_modules)
            self._check_imports(additional_authorized_imports)
            if timeout_seconds is not None and not 0 < timeout_seconds < math.inf:
                raise InvalidRequest(f"timeout_seconds is {timeout_seconds}: give a positive number, or None")
        except BaseException:
            self.cleanup()
            raise
        highest = info.maximum_limits
        self._seconds = min(highest.wall_ms, highest.cpu_ms) / 1e3 if timeout_seconds is None else timeout_seconds
        limit_ms = math.ceil(1e3 * self._seconds)
        output_bytes = min(_OUTPUT_BYTES, highest.output_bytes)
        self._limits = pb.Limits(
            wall_ms=limit_ms, cpu_ms=limit_ms, memory_bytes=memory_bytes, output_bytes=output_bytes
        )
        self._output_bytes = output_bytes
        self._tool_seconds, self._tool_calls = tool_timeout_seconds, max_tool_calls
        self._most_prints = max_print_outputs_length or _PRINTS_CHARACTERS
        self.state: dict[str, Any] = {"_print_outputs": ""}
        """`_print_outputs`: what the last snippet printed. Variables are in the sandbox."""
        self._tools: dict[str, tools_module.Tool] = {}
        self._variables: dict[str, Variable] = {}
        self._unsent: set[str] = set()
        self._fresh = True
        self._busy = threading.Lock()

    def send_tools(self, tools: Mapping[str, tools_module.Tool]) -> None:
        """Let snippets call `tools` by their names, in place of those that were sent before.

        Raises:
            InterpreterError: it is called by a tool that a snippet of this executor calls, or the executor is closed.
        """
        with self._turn():
            self._tools = dict(tools)

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Set variables of the snippets: JSON values and numpy arrays of numbers.

        Raises:
            InterpreterError: as with `send_tools`, or a variable is neither, or too large.
        """
        if not variables:
            return
        with self._turn():
            sent = {name: Variable.of(name, value) for name, value in variables.items()}
            kept = self._variables | sent
            if sum(variable.size for variable in kept.values()) > variables_module.MOST_BYTES:
                raise InterpreterError(f"the variables have over {variables_module.MOST_BYTES >> 20} MiB: send less")
            if variables_module.calls(kept) > variables_module.MOST_CALLS:
                raise InterpreterError(f"over {variables_module.MOST_CALLS - 1} variables: send them in a dictionary")
            self._variables = kept
            self._unsent |= sent.keys()

    def __call__(self, code_action: str) -> CodeOutput:
        """Run a snippet and return the value of its last expression, what it printed, and whether that is the answer.

        Raises:
            InterpreterError: the snippet failed; or another one is running, or the executor is closed.
            ExecutionTimeoutError: it did not end within `timeout_seconds`.
            deepmath.errors.DeepMathError: no executor could run it, which is no fault of the snippet.
        """
        if not isinstance(code_action, str):
            raise InterpreterError(f"a snippet is text, not {type(code_action).__name__}")
        with self._turn():
            self.state["_print_outputs"] = ""
            answers: list[Any] = []
            try:
                result = self._loop.run(self._run(code_action, answers.append))
            except ClosedError:
                raise InterpreterError("this executor was closed while it ran a snippet") from None
            self._fresh |= result.state_lost
            logs = truncate_content(result.stdout, max_length=self._most_prints)
            self.state["_print_outputs"] = logs
            if answers:  # whatever the snippet did behind it
                return CodeOutput(output=answers[0], logs=logs, is_final_answer=True)
            if error := to_error(result, code_action, self.authorized_imports, self._seconds):
                raise error
            return CodeOutput(output=self._value(result), logs=logs, is_final_answer=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    async def _connect(
        self, address: str | None, seed: int, tls: Path | None, token_file: Path | None
    ) -> pb.GetInfoResponse:
        """Open the session, on an executor of our own where there is no address, and return what the executor says."""
        stack = await self._loop.hold(LocalStack(executor=address))
        self.address = stack.executor
        # Nobody has to prove to the one of our own, on a private socket, who calls.
        given = {"tls": tls, "token_file": token_file} if address else {}
        patience_s = _PATIENCE_S if address else _OWN_PATIENCE_S
        client = await self._loop.hold(ExecutorClient(stack.executor, patience_s, _CLIENT_NAME, **given))
        self._session = await self._loop.hold(client.session(seed))
        return await client.get_info()

    def _check_imports(self, asked: Sequence[str]) -> None:
        if isinstance(asked, str):
            raise InterpreterError("additional_authorized_imports is a list of modules: put the name into brackets")
        missing = sorted({root for name in asked if (root := name.partition(".")[0]) not in self.authorized_imports})
        if missing := [root for root in missing if root != "*"]:
            raise InterpreterError(
                f"Non-installed authorized modules: {', '.join(missing)}. This executor has {self.authorized_imports}: "
                "remove the others from the authorized imports, or give the agent a tool that does what they are for"
            )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._loop.closed:
            raise InterpreterError("this executor is closed: make another")
        if not self._busy.acquire(blocking=False):
            raise InterpreterError(
                "this executor is running a snippet, and runs one at a time: a tool that runs an agent, or another "
                "thread, needs an executor of its own"
            )
        try:
            yield
        finally:
            self._busy.release()

    async def _run(self, code: str, answer: Callable[[Any], None]) -> pb.SnippetResult:
        await self._set_up()
        return await self._session.run(
            code,
            self._limits,
            host_functions=tools_module.host_functions(self._tools, contextvars.copy_context(), answer),
            host_call_s=self._tool_seconds,
            host_calls=self._tool_calls,
            value_format=pb.VALUE_FORMAT_JSON,
        )

    async def _set_up(self) -> None:
        """Bring the sandbox to where snippets may begin: what it lacks of variables and, a fresh one, of names."""
        names = set(self._variables) if self._fresh else self._unsent
        variables = {name: self._variables[name] for name in names}
        code = variables_module.PRELUDE if self._fresh else ""
        code += variables_module.RECEIVE if variables else ""
        if code:
            functions = variables_module.host_functions(variables) if variables else {}
            calls = variables_module.calls(variables)
            result = await self._session.run(code, self._limits, host_functions=functions, host_calls=calls)
            self._fresh |= result.state_lost
            if error := to_error(result, code, self.authorized_imports, self._seconds):
                raise InterpreterError(f"the variables could not be set: {error}")
            self._fresh, self._unsent = False, set()

    def _value(self, result: pb.SnippetResult) -> Any:
        if not result.HasField("value"):
            return None
        try:
            return wire_values.loads(result.value, self._output_bytes)
        except ValueError:  # a snippet can send in its name what it likes
            return result.value
