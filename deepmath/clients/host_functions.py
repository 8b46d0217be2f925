"""Functions of this process that a snippet may call. The snippet is hostile: what it passes is checked, and bounded.

A function runs here, with all that this process may do. Offer no function that a stranger must not call with any
arguments it likes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from deepmath.errors import InvalidRequest, ReplayDiverged
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.rpc import wire_values

_ERROR_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class HostFunction:
    """What a snippet may call by a name.

    `call` gets the arguments by name and returns what JSON, or one of the forms of `deepmath/rpc/wire_values.py`, can hold. What
    it raises is raised in the snippet. Beyond its deadline it is cancelled, and the snippet gets a TimeoutError.
    `parameters` are the names of arguments that are given by position. With `ends_snippet` a call that is answered
    without an error ends the snippet.
    """

    call: Callable[[dict[str, Any]], Awaitable[Any]]
    parameters: tuple[str, ...] = ()
    ends_snippet: bool = False


class _Answered(NamedTuple):
    """A call and the answer to it, for when the snippet runs again."""

    function: str
    arguments: str
    result: pb.HostResult


class Host:
    """The host of one snippet: answers its calls, each once, however often the snippet has to run."""

    def __init__(self, functions: Mapping[str, HostFunction], call_s: float, calls: int) -> None:
        self._functions = dict(functions)
        self._answered: list[_Answered] = []
        self._place = 0
        self._again = False
        self.offer: pb.HostFunctions | None = None
        if functions:
            self.offer = _offer(functions, call_s, calls)

    def begin(self, again: bool = False) -> Callable[[pb.HostCall], Awaitable[pb.HostResult]] | None:
        """Return what answers the calls of a run that begins; None where nothing is offered.

        `again` says that the snippet has ended before: then it is given its answers, and no function is called.
        """
        self._place, self._again = 0, again
        return self._answer if self.offer is not None else None

    def end(self) -> None:
        """See to it that a run that has ended made the calls that it had made before; no function is called any more.

        Raises:
            ReplayDiverged: there are more.
        """
        if self._place < len(self._answered):
            raise ReplayDiverged(
                f"run again, the snippet did not make its call {self._place + 1}, "
                f"{self._answered[self._place].function}(): its effects and the session's variables do not fit"
            )
        self._functions.clear()  # the session's history is not to keep alive what they are of

    async def _answer(self, call: pb.HostCall) -> pb.HostResult:
        if self._place < len(self._answered):
            known = self._answered[self._place]
            if (call.function, call.arguments) != (known.function, known.arguments):
                raise self._diverged(call, f"{known.function}() with other arguments or in its place")
        elif self._again:
            raise self._diverged(call, "nothing")
        else:
            result = await self._call(call)
            known = _Answered(call.function, call.arguments, result)
            self._answered.append(known)
        self._place += 1
        result = pb.HostResult(sequence=call.sequence, number=call.number)
        result.MergeFrom(known.result)
        return result

    def _diverged(self, call: pb.HostCall, before: str) -> ReplayDiverged:
        return ReplayDiverged(
            f"run again on another executor, the snippet called {call.function}() where it had called {before} before; "
            "what depends on the clock or on chance does so"
        )

    async def _call(self, call: pb.HostCall) -> pb.HostResult:
        """Return what the function answers, without the call's number."""
        loop = asyncio.get_running_loop()
        end = loop.time() + call.deadline_ms / 1e3
        try:
            function = self._functions[call.function]  # the executor lets nothing else through
            arguments = wire_values.loads(call.arguments, wire_values.ARGUMENT_BYTES)
            if not isinstance(arguments, dict):
                raise ValueError("the arguments are no object")
            async with asyncio.timeout_at(end):
                value = await function.call(arguments)
            result = pb.HostResult(value=_written(call.function, value))
        except Exception as error:
            result = _failed(error)
        if loop.time() >= end:  # also where the function has held up this loop, so that nothing could cancel it
            result = _failed(TimeoutError(f"{call.function}() was not answered within {call.deadline_ms / 1e3:g} s"))
        return result


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
        raise InvalidRequest(f"host functions cannot be offered so: {error}") from None


def _written(function: str, value: Any) -> str:
    try:
        return wire_values.dumps(value, wire_values.RESULT_BYTES)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{function}() returned what cannot be sent into the sandbox: {error}") from None


def _failed(error: Exception) -> pb.HostResult:
    try:
        message = str(error)
    except Exception:
        message = "its message cannot be told"
    message = message.encode(errors="backslashreplace").decode()[:_ERROR_CHARACTERS]
    return pb.HostResult(error=pb.HostError(type=type(error).__name__, message=message))
