"""Runs snippets inside a locked-down sandbox, one request frame after the other.

A snippet may replace, break or close anything in this interpreter. What the runner needs after a snippet has run is
therefore kept in local references, nothing here trusts what the snippet leaves behind, and the supervisor in turn
trusts nothing that comes from here.
"""

import ast
import contextlib
import io
import mmap
import os
import random
import sys
import types
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from deepmath.rpc import wire_values
from deepmath.sandbox import bounded_text, frames
from deepmath.sandbox.import_policy import ImportPolicy
from deepmath.sandbox.inside.host_function_proxies import HostFunctionProxies
from deepmath.sandbox.inside.soft_timeout import SoftTimeout
from deepmath.sandbox.isolation.lockdown import CONTROL
from deepmath.sandbox.tracebacks import SNIPPET_FILE_PREFIX, describe, register_source, snippet_filename

_READY = frames.encode({"ready": True})
# Freed when a snippet has used up its memory, so that there is some left to say so.
_RESERVE_BYTES = 8 << 20
# A snippet may patch the modules that these come from.
_os_read, _os_write, _leave, _set_recursion_limit = os.read, os.write, os._exit, sys.setrecursionlimit
_flush = io.TextIOWrapper.flush


class Runner:
    """The state of one sandbox: the variables of its session."""

    def __init__(self, allowed_modules: Sequence[str]) -> None:
        self._policy = ImportPolicy(allowed_modules)
        self._reserve = _reserve_memory()
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self._variables = module.__dict__
        self._streams = (_text_stream(1), _text_stream(2))
        self._host = HostFunctionProxies()

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run one snippet and return its result as a message."""
        limit = request["output_bytes"]
        filename = snippet_filename(request["sequence"])
        self._prepare(request, filename)
        json_bytes = limit if request.get("json") else 0
        try:
            value = self._execute_until_alarm(request["code"], filename, json_bytes)
        except BaseException as error:
            if error is self._host.end and not SoftTimeout.rang:
                return {"outcome": "OK"}
            if isinstance(error, MemoryError):
                self._free_reserve()
            outcome = self._outcome(error)
            return {"outcome": outcome, "exception": describe(error, limit)}
        outcome = "INTERRUPTED" if SoftTimeout.rang else "OK"
        if value is None:
            return {"outcome": outcome}
        text, dropped = bounded_text.cut(value, limit)
        return {"outcome": outcome, "value": text, "dropped": dropped}

    def flush(self) -> None:
        """Write out what the last snippet printed."""
        for stream in self._streams:
            with contextlib.suppress(OSError, ValueError):  # the snippet has closed it
                _flush(stream)

    def _free_reserve(self) -> None:
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None

    def _prepare(self, request: dict[str, Any], filename: str) -> None:
        code = request["code"]
        self._variables["__builtins__"] = self._policy.builtins()
        self._host.begin(request["sequence"], request.get("host", ()))
        self._variables["__builtins__"] |= self._host.builtins
        self._policy.refusal = None
        self._streams = (_text_stream(1), _text_stream(2))
        sys.stdout, sys.stderr = self._streams
        register_source(filename, code)
        if self._reserve is None:
            self._reserve = _reserve_memory()

    def _execute_until_alarm(self, code: str, filename: str, json_bytes: int) -> str | None:
        # The interpreter looks for signals at calls and jumps only: there is none on the way to `armed = False`.
        SoftTimeout.rang = False
        try:
            SoftTimeout.armed = True
            return self._execute(code, filename, json_bytes)
        finally:
            SoftTimeout.armed = False

    def _execute(self, code: str, filename: str, json_bytes: int) -> str | None:
        """Run `code` and return its value: `repr` of it or, where `json_bytes` is not 0, JSON of at most so many."""
        tree = ast.parse(code, filename)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, filename, "exec", dont_inherit=True), self._variables)
        if not isinstance(last, ast.Expr):
            return None
        expression = compile(ast.Expression(last.value), filename, "eval", dont_inherit=True)
        value = eval(expression, self._variables)
        if value is None:
            return None
        return wire_values.dumps_anything(value, json_bytes) if json_bytes else repr(value)

    def _outcome(self, error: BaseException) -> str:
        if SoftTimeout.rang:
            return "INTERRUPTED"
        if isinstance(error, MemoryError):
            return "OUT_OF_MEMORY"
        return "POLICY_VIOLATION" if error is self._policy.refusal else "EXCEPTION"


def serve(allowed_modules: Sequence[str]) -> NoReturn:
    """Say that the sandbox is ready, then run what comes over CONTROL until the supervisor hangs up."""
    sys.dont_write_bytecode = True
    sys.set_int_max_str_digits(0)  # long integers are what a maths snippet is about; the limits bound the time
    warnings.formatwarning = _format_warning
    runner = Runner(allowed_modules)
    recursion_limit = sys.getrecursionlimit()
    _rehearse(runner)
    _send(_READY)
    while (request := _receive()) is not None:
        if (seed := request.get("seed")) is not None:
            seed_generators(seed)
        sequence = {"sequence": request["sequence"]}
        no_memory = frames.encode({**sequence, "outcome": "OUT_OF_MEMORY"})
        try:
            answer = frames.encode({**sequence, **runner.run(request)})
            runner.flush()
        except MemoryError:
            answer = no_memory
        _set_recursion_limit(recursion_limit)
        _send(answer)
    _leave(0)


def _rehearse(runner: Runner) -> None:
    """Do what every session does once: the pages it writes to are copied now, not while a client waits."""
    seed_generators(0)
    frames.encode(runner.run({"sequence": 0, "code": "print(end='')\n0", "output_bytes": 1}))
    runner.flush()


def _send(frame: bytes) -> None:
    rest = memoryview(frame)
    while rest:
        rest = rest[_os_write(CONTROL, rest) :]


def _receive() -> dict[str, Any] | None:
    header = _read_exactly(frames.HEADER_BYTES)
    return frames.parse(_read_exactly(frames.length(header))) if header else None


def _read_exactly(count: int) -> bytes:
    """Return `count` bytes from CONTROL, or none where the supervisor has hung up."""
    data = b""
    while len(data) < count:
        piece = _os_read(CONTROL, count - len(data))
        if not piece:
            return b""
        data += piece
    return data


def _reserve_memory() -> mmap.mmap | None:
    """Take up address space, which is what is limited, but not a page of memory; None where there is none left."""
    try:
        return mmap.mmap(-1, _RESERVE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        return None


def _text_stream(descriptor: int) -> io.TextIOWrapper:
    # Line by line, so that what was printed is not lost with the process.
    raw = io.FileIO(descriptor, "w", closefd=False)
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,  # noqa: ARG001
) -> str:
    place = f"{filename}:{lineno}: " if filename.startswith(SNIPPET_FILE_PREFIX) else ""
    return f"{place}{category.__name__}: {message}\n"


def seed_generators(seed: int) -> None:
    """Seed `random`, and numpy's and sympy's generators if they are loaded.

    Generators that a snippet creates without a seed take theirs from the same source.
    """
    entropy, original_seed = random.Random(seed), random.Random.seed

    def seed_from_session(generator: random.Random, a: Any = None, version: int = 2) -> None:
        original_seed(generator, entropy.getrandbits(64) if a is None else a, version)

    random.Random.seed = seed_from_session  # type: ignore[method-assign, assignment]
    random.seed(seed)
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed(seed & 0xFFFFFFFF)
        vars(numpy_random.bit_generator)["randbits"] = entropy.getrandbits
    if sympy_random := sys.modules.get("sympy.core.random"):
        sympy_random.seed(seed)
