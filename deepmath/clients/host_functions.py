"""Functions of this process that a snippet may call, and the record of their results for replays.

The snippet is hostile: its arguments are checked and bounded. A function runs in this process with all of its
privileges. Offer only functions that are safe to call with arbitrary arguments.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from deepmath.errors import InvalidRequest, ReplayDiverged
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.rpc import wire_values

_MAX_ERROR_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A function that a snippet may call by name.

    `call` takes the arguments by name and returns a value that `deepmath.rpc.wire_values` can encode. An exception is
    raised again in the snippet. At its deadline the call is cancelled, and the snippet gets a TimeoutError.
    `parameters` names positional arguments. With `ends_snippet`, a call that returns ends the snippet.
    """

    call: Callable[[dict[str, Any]], Awaitable[Any]]
    parameters: tuple[str, ...] = ()
    ends_snippet: bool = False


class _RecordedCall(NamedTuple):
    """A host call and its result, for replays."""

    function: str
    arguments: str
    result: pb.HostResult


class HostCallReplayer:
    """Answers the host calls of one snippet, calling each function once however often the snippet runs."""

    def __init__(self, functions: Mapping[str, HostFunction], call_s: float, calls: int) -> None:
        self._functions = dict(functions)
        self._recorded: list[_RecordedCall] = []
        self._position = 0
        self._replay = False
        self.offer: pb.HostFunctions | None = None
        if functions:
            self.offer = _offer(functions, call_s, calls)

    def start_run(self, replay: bool = False) -> Callable[[pb.HostCall], Awaitable[pb.HostResult]] | None:
        """Return the function that answers the calls of a new run; None if no functions are offered.

        `replay` means that the snippet has already finished once: calls are answered from the record alone.
        """
        self._position, self._replay = 0, replay
        return self._answer if self.offer is not None else None

    def finish_run(self) -> None:
        """Check that a finished run made all recorded calls, and release the functions.

        Raises:
            ReplayDiverged: It made fewer.
        """
        if self._position < len(self._recorded):
            raise ReplayDiverged(
                f"when replayed, the snippet did not make its call {self._position + 1}, "
                f"{self._recorded[self._position].function}(): the session's variables do not match its effects"
            )
        self._functions.clear()  # the session's history should not keep their objects alive

    async def _answer(self, call: pb.HostCall) -> pb.HostResult:
        if self._position < len(self._recorded):
            recorded = self._recorded[self._position]
            if (call.function, call.arguments) != (recorded.function, recorded.arguments):
                raise _diverged(call, f"{recorded.function}() with other arguments or in its place")
        elif self._replay:
            raise _diverged(call, "nothing")
        else:
            recorded = _RecordedCall(call.function, call.arguments, await self._call(call))
            self._recorded.append(recorded)
        self._position += 1
        result = pb.HostResult(sequence=call.sequence, number=call.number)
        result.MergeFrom(recorded.result)
        return result

    async def _call(self, call: pb.HostCall) -> pb.HostResult:
        """Call the function and return its result, without the call's number."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.deadline_ms / 1e3
        try:
            function = self._functions[call.function]  # the executor forwards calls of offered functions only
            arguments = _decode(call)
            async with asyncio.timeout_at(deadline):
                value = await function.call(arguments)
            result = pb.HostResult(value=_encode(call.function, value))
        except Exception as error:
            result = _error_result(error)
        if loop.time() >= deadline:  # a function that blocked the event loop could not be cancelled
            result = _error_result(
                TimeoutError(f"{call.function}() was not answered within {call.deadline_ms / 1e3:g} s")
            )
        return result


def _diverged(call: pb.HostCall, before: str) -> ReplayDiverged:
    return ReplayDiverged(
        f"when replayed on another executor, the snippet called {call.function}() where it had called {before} before; "
        "snippets that depend on the clock or on chance do so"
    )


def _offer(functions: Mapping[str, HostFunction], call_s: float, calls: int) -> pb.HostFunctions:
    try:
        return pb.HostFunctions(
            functions=[
                pb.HostFunction(name=name, parameters=function.parameters, ends_snippet=function.ends_snippet)
                for name, function in functions.items()
            ],
            call_ms=round(1e3 * call_s),
            calls=calls,
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"invalid host functions: {error}") from None


def _decode(call: pb.HostCall) -> dict[str, Any]:
    """Return the arguments of a call, whose text is the snippet's choice."""
    try:
        arguments = wire_values.loads(call.arguments, wire_values.ARGUMENT_BYTES)
        if not isinstance(arguments, dict):
            raise ValueError("not a JSON object")
    except ValueError as error:
        raise ValueError(f"the arguments of {call.function}() cannot be sent out of the sandbox: {error}") from None
    return arguments


def _encode(function: str, value: Any) -> str:
    try:
        return wire_values.dumps(value, wire_values.RESULT_BYTES)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{function}() returned a value that cannot be sent into the sandbox: {error}") from None


def _error_result(error: Exception) -> pb.HostResult:
    try:
        message = str(error)
    except Exception:
        message = "the error's message could not be formatted"
    message = message.encode(errors="backslashreplace").decode()[:_MAX_ERROR_CHARACTERS]
    return pb.HostResult(error=pb.HostError(type=type(error).__name__, message=message))
