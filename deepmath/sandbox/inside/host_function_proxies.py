"""Functions of the client as a snippet sees them: builtins that send a frame to the supervisor and wait for its reply.

Nothing here keeps a snippet from sending such a frame itself: what may be called, how often and with what is for the
supervisor to see to (`host_calls.py`). What is seen to here is that an honest snippet and the supervisor never lose
count of each other's frames: while they are exchanged no alarm is heard, and a reply for which there is no memory is
read to its end all the same.
"""

import builtins
import os
from collections.abc import Callable, Sequence
from typing import Any

from deepmath.rpc import wire_values
from deepmath.sandbox import frames
from deepmath.sandbox.inside.soft_timeout import SoftTimeout, ring
from deepmath.sandbox.isolation.lockdown import CONTROL

# A snippet may patch the modules that these come from.
_os_write, _os_read, _os_readv, _leave = os.write, os.read, os.readv, os._exit
_DRAIN_BYTES = 1 << 12
_EXCEPTIONS = {
    name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
}


class EndOfSnippet(BaseException):
    """A function that ends the snippet was answered. No Exception: most snippets catch those."""


class HostFunctionProxies:
    """What the snippet that runs may call, by name in `builtins`. `end` is what the call that ended it has raised."""

    def __init__(self) -> None:
        self.begin(0, ())

    def begin(self, sequence: int, offered: Sequence[dict[str, Any]]) -> None:
        """Offer this to the next snippet, in place of what was offered to the last."""
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
            arguments = _bound(name, parameters, args, kwargs)
            result = self._call(name, _written(name, arguments, dumps))
            if ends_snippet:
                self.end = EndOfSnippet()
                raise self.end
            return result

        function.__name__ = function.__qualname__ = name
        return function

    def _call(self, name: str, arguments: str) -> Any:
        self._number += 1
        call = {"sequence": self._sequence, "call": self._number, "function": name, "arguments": arguments}
        frame = frames.encode(call)
        armed, SoftTimeout.armed = SoftTimeout.armed, False
        try:
            reply = _exchange(frame)
        finally:
            SoftTimeout.armed = armed
        message = frames.parse(bytes(reply))
        if "error" in message:
            raise _error(message["error"]["type"], message["error"]["message"])
        if "interrupted" in message:
            ring()
        return wire_values.loads(message["value"], wire_values.RESULT_BYTES)


def _bound(name: str, parameters: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by name."""
    if len(args) > len(parameters):
        raise TypeError(f"{name}() takes {len(parameters)} positional arguments but {len(args)} were given")
    arguments = dict(zip(parameters, args, strict=False))
    for key in kwargs:
        if key in arguments:
            raise TypeError(f"{name}() got multiple values for argument {key!r}")
    return arguments | kwargs


def _written(name: str, arguments: dict[str, Any], dumps: Callable[[Any, int], str]) -> str:
    limit = wire_values.ARGUMENT_BYTES
    try:
        if dumps is wire_values.dumps_anything:  # each for itself, or one would make all of them one text
            each = max(1, limit // max(1, len(arguments)) - 300)
            pairs = (f"{wire_values.dumps(key, 300)}:{dumps(value, each)}" for key, value in arguments.items())
            return f"{{{','.join(pairs)}}}"
        return dumps(arguments, limit)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"the arguments of {name}() cannot be sent out of the sandbox: {error}") from None


def _exchange(frame: bytes) -> bytearray:
    """Send `frame` and return the body of the reply.

    Calls nothing written in Python: a snippet at the end of its stack shall fail before it has sent anything.
    """
    rest = memoryview(frame)
    while rest:
        rest = rest[_os_write(CONTROL, rest) :]
    header = b""
    while len(header) < frames.HEADER_BYTES:
        header += _os_read(CONTROL, frames.HEADER_BYTES - len(header)) or _leave(0)  # the supervisor has hung up
    left = int.from_bytes(header, "big")
    try:
        body = bytearray(left)
    except MemoryError:
        while left:
            left -= len(_os_read(CONTROL, min(left, _DRAIN_BYTES))) or _leave(0)
        raise
    while left:
        left -= _os_readv(CONTROL, [memoryview(body)[-left:]]) or _leave(0)
    return body


def _error(name: str, message: str) -> Exception:
    """Return what the client's function raised: by the same name and, if that is Python's own, of the same kind."""
    own = {"__str__": lambda _: message, "__module__": "builtins"}
    error: Exception
    try:
        kind: type[Exception] = type(name, (_EXCEPTIONS.get(name, RuntimeError),), own)
        error = kind.__new__(kind, message)
    except (TypeError, ValueError):  # it is no name, or more is wanted to make one of
        error = RuntimeError(f"{name}: {message}")
    error.args = (message,)
    return error
