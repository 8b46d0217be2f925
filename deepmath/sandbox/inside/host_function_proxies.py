"""The client's functions as a snippet sees them: builtins that send a call to the supervisor and wait for the reply.

A snippet can send such a frame without them, so the supervisor checks every call (`call_parser.py`, and the executor's
`host_calls.py`). This module only keeps an honest snippet and the supervisor in step: the soft timeout is disarmed
during an exchange, and a reply is read to its end even if there is no memory to hold it.
"""

import builtins
import os
from collections.abc import Callable, Sequence
from typing import Any

from deepmath.rpc import wire_values
from deepmath.sandbox import frames
from deepmath.sandbox.inside.soft_timeout import SoftTimeout, raise_timeout
from deepmath.sandbox.isolation.lockdown import CONTROL

# Kept here because a snippet may patch the modules they come from.
_os_write, _os_read, _os_readv, _exit = os.write, os.read, os.readv, os._exit
_DRAIN_BYTES = 1 << 12
_EXCEPTIONS = {
    name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
}


class EndOfSnippet(BaseException):
    """Raised after a call that ends the snippet. Not an Exception, because many snippets catch those."""


class HostFunctionProxies:
    """The functions offered to the running snippet: `builtins` by name.

    `end` is the exception of the call that ended the snippet, or None.
    """

    def __init__(self) -> None:
        self.replace(0, ())

    def replace(self, sequence: int, offered: Sequence[dict[str, Any]]) -> None:
        """Offer these functions to snippet `sequence` instead of those of the snippet before it."""
        self._sequence = sequence
        self._number = 0
        self.end: EndOfSnippet | None = None
        self.builtins = {function["name"]: self._builtin(**function) for function in offered}

    def _builtin(self, name: str, parameters: Sequence[str], ends_snippet: bool) -> Callable[..., Any]:
        dumps = wire_values.dumps_anything if ends_snippet else wire_values.dumps

        def function(*args: Any, **kwargs: Any) -> Any:
            if self.end is not None:
                raise self.end
            if name not in self.builtins:  # kept from an earlier snippet
                raise NameError(f"{name}() is not offered to this snippet")
            arguments = _bind(name, parameters, args, kwargs)
            result = self._call(name, _to_json(name, arguments, dumps))
            if ends_snippet:
                self.end = EndOfSnippet()
                raise self.end
            return result

        function.__name__ = function.__qualname__ = name
        return function

    def _call(self, name: str, arguments: str) -> Any:
        self._number += 1
        call: dict[str, str | int] = {
            "sequence": self._sequence,
            "call": self._number,
            "function": name,
            "arguments": arguments,
        }
        frame = frames.encode(call)
        armed, SoftTimeout.armed = SoftTimeout.armed, False
        try:
            reply = _exchange(frame)
        finally:
            SoftTimeout.armed = armed
        message = frames.parse(bytes(reply))
        if "error" in message:
            raise _client_error(message["error"].decode(), message["message"].decode())
        if "interrupted" in message:
            raise_timeout()
        return wire_values.loads(message["value"].decode(), wire_values.RESULT_BYTES)


def _bind(name: str, parameters: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by name."""
    if len(args) > len(parameters):
        raise TypeError(f"{name}() takes {len(parameters)} positional arguments but {len(args)} were given")
    arguments = dict(zip(parameters, args, strict=False))
    for key in kwargs:
        if key in arguments:
            raise TypeError(f"{name}() got multiple values for argument {key!r}")
    return arguments | kwargs


def _to_json(name: str, arguments: dict[str, Any], dumps: Callable[[Any, int], str]) -> str:
    limit = wire_values.ARGUMENT_BYTES
    try:
        if dumps is wire_values.dumps_anything:  # one by one, or a single value would turn all of them into one text
            each = max(1, limit // max(1, len(arguments)) - 300)
            pairs = (f"{wire_values.dumps(key, 300)}:{dumps(value, each)}" for key, value in arguments.items())
            return f"{{{','.join(pairs)}}}"
        return dumps(arguments, limit)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"the arguments of {name}() cannot be sent out of the sandbox: {error}") from None


def _exchange(frame: bytes) -> bytearray:
    """Send `frame` and return the body of the reply.

    Calls no Python function: a snippet at the end of its stack must fail before it has sent anything.
    """
    rest = memoryview(frame)
    while rest:
        rest = rest[_os_write(CONTROL, rest) :]
    header = b""
    while len(header) < frames.HEADER_BYTES:
        header += _os_read(CONTROL, frames.HEADER_BYTES - len(header)) or _exit(0)  # the supervisor has closed its end
    left = int.from_bytes(header, "big")
    try:
        body = bytearray(left)
    except MemoryError:
        while left:
            left -= len(_os_read(CONTROL, min(left, _DRAIN_BYTES))) or _exit(0)
        raise
    while left:
        left -= _os_readv(CONTROL, [memoryview(body)[-left:]]) or _exit(0)
    return body


def _client_error(name: str, message: str) -> Exception:
    """Return an exception with the class name of the client's exception; a subclass of Python's own if there is one."""
    namespace = {"__str__": lambda _: message, "__module__": "builtins"}
    error: Exception
    try:
        kind: type[Exception] = type(name, (_EXCEPTIONS.get(name, RuntimeError),), namespace)
        error = kind.__new__(kind, message)
    except (TypeError, ValueError):  # not a valid name, or the class needs more arguments
        error = RuntimeError(f"{name}: {message}")
    error.args = (message,)
    return error
