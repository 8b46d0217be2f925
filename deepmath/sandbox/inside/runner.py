"""Loop of a sandbox: reads one request frame after another, runs the snippet and sends the result.

A snippet may replace, break or close anything in this interpreter. The runner therefore keeps references to what it
needs afterwards and trusts nothing that a snippet leaves behind. The supervisor in turn trusts nothing sent from here.
"""

import ast
import contextlib
import io
import json
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
from deepmath.sandbox.inside import snippet_streams
from deepmath.sandbox.inside.host_function_proxies import HostFunctionProxies
from deepmath.sandbox.inside.recursion_limit import RecursionLimit
from deepmath.sandbox.inside.rich_outputs import RichOutputs
from deepmath.sandbox.inside.soft_timeout import SoftTimeout
from deepmath.sandbox.isolation.lockdown import CONTROL
from deepmath.sandbox.tracebacks import SNIPPET_FILE_PREFIX, describe, register_source, snippet_filename

_READY = frames.encode({"ready": 1})
# Freed when a snippet runs out of memory: room for the result that reports it.
_RESERVE_BYTES = 8 << 20
# Kept here because a snippet may patch the modules they come from.
_os_read, _os_write, _exit = os.read, os.write, os._exit
_flush = io.TextIOWrapper.flush


class Runner:
    """State of one session: its variables, its import policy, the functions it may call and its `recursion` limit."""

    def __init__(self, allowed_modules: Sequence[str]) -> None:
        self._policy = ImportPolicy(allowed_modules)
        self._reserve = _reserve_memory()
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self._variables = module.__dict__
        self._streams = (snippet_streams.text_stream(1), snippet_streams.text_stream(2))
        self._host = HostFunctionProxies()
        self.recursion = RecursionLimit()

    def run(self, request: frames.Message) -> frames.Fields:
        """Run one snippet and return its result as the message that the supervisor expects."""
        return {**self._run(request), **RichOutputs.to_fields()}

    def _run(self, request: frames.Message) -> frames.Fields:
        limit, code = int(request["output_bytes"]), request["code"].decode()
        filename = snippet_filename(int(request["sequence"]))
        self._prepare(request, code, filename)
        json_bytes = limit if "json" in request else 0
        try:
            value = self._execute_with_timeout(code, filename, json_bytes)
        except BaseException as error:
            if not SoftTimeout.fired and (error is self._host.end or _is_exit(error)):
                return {"outcome": "OK"}
            if isinstance(error, MemoryError):
                self._free_reserve()
            self.recursion.explain(error)
            snippet_streams.explain(error)
            outcome = self._outcome(error)
            description = describe(error, limit)
            return {"outcome": outcome, "exception": description.pop("type"), **description}
        outcome = "INTERRUPTED" if SoftTimeout.fired else "OK"
        if value is None:
            return {"outcome": outcome}
        text, dropped = bounded_text.cut(value, limit)
        return {"outcome": outcome, "value": text, "dropped": dropped}

    def flush(self) -> None:
        """Flush the output of the last snippet."""
        for stream in self._streams:
            with contextlib.suppress(OSError, ValueError):  # closed by the snippet
                _flush(stream)

    def _free_reserve(self) -> None:
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None

    def _prepare(self, request: frames.Message, code: str, filename: str) -> None:
        self._variables["__builtins__"] = self._policy.builtins()
        self._host.replace(int(request["sequence"]), json.loads(request.get("host", b"[]")))
        self._variables["__builtins__"] |= self._host.builtins
        self._policy.refusal = None
        RichOutputs.reset()
        self._streams = (snippet_streams.text_stream(1), snippet_streams.text_stream(2))
        snippet_streams.install(snippet_streams.text_input(request.get("stdin", b"")), *self._streams)
        register_source(filename, code)
        if self._reserve is None:
            self._reserve = _reserve_memory()

    def _execute_with_timeout(self, code: str, filename: str, json_bytes: int) -> str | None:
        # CPython handles signals at calls and backward jumps only. There is none between the return of the call and
        # `armed = False`.
        SoftTimeout.fired = False
        try:
            SoftTimeout.armed = True
            return self._execute_and_draw(code, filename, json_bytes)
        finally:
            SoftTimeout.armed = False

    def _execute_and_draw(self, code: str, filename: str, json_bytes: int) -> str | None:
        """Run `code` as `_execute` does, and add its open figures to its outputs, unless time or memory is used up."""
        try:
            value = self._execute(code, filename, json_bytes)
        except BaseException as error:
            if not (SoftTimeout.fired or isinstance(error, MemoryError)):
                with contextlib.suppress(Exception):
                    RichOutputs.finish()
            raise
        RichOutputs.finish()
        return value

    def _execute(self, code: str, filename: str, json_bytes: int) -> str | None:
        """Run `code` and return the value of its last expression: its `repr`, or JSON of at most `json_bytes` bytes.

        `json_bytes` is 0 for `repr`.
        """
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
        if SoftTimeout.fired:
            return "INTERRUPTED"
        if isinstance(error, MemoryError):
            return "OUT_OF_MEMORY"
        return "POLICY_VIOLATION" if error is self._policy.refusal else "EXCEPTION"


def _is_exit(error: BaseException) -> bool:
    """Whether `error` is `sys.exit()` or `sys.exit(0)`: the end of a program that has not failed."""
    return type(error) is SystemExit and (error.code is None or (type(error.code) in (int, bool) and error.code == 0))


def serve(allowed_modules: Sequence[str]) -> NoReturn:
    """Report that the sandbox is ready, then run requests from CONTROL until the supervisor closes its end."""
    sys.dont_write_bytecode = True
    sys.set_int_max_str_digits(0)  # maths snippets use long integers; the time limit bounds the conversion
    warnings.formatwarning = _format_warning
    runner = Runner(allowed_modules)
    _rehearse(runner)
    _send(_READY)
    while (request := _receive()) is not None:
        if (seed := request.get("seed")) is not None:
            seed_generators(int(seed))
        sequence = {"sequence": int(request["sequence"])}
        no_memory = frames.encode({**sequence, "outcome": "OUT_OF_MEMORY"})  # while there is memory to encode it
        try:
            response = frames.encode({**sequence, **runner.run(request)})
            runner.flush()
        except MemoryError:
            response = no_memory
        runner.recursion.restore()
        _send(response)
    _exit(0)


def _rehearse(runner: Runner) -> None:
    """Run an empty snippet: page faults that every session would take are taken now, before a client waits."""
    seed_generators(0)
    frames.encode(runner.run({"sequence": b"0", "code": b"print(end='')\n0", "output_bytes": b"1"}))
    runner.flush()


def _send(frame: bytes) -> None:
    rest = memoryview(frame)
    while rest:
        rest = rest[_os_write(CONTROL, rest) :]


def _receive() -> frames.Message | None:
    header = _read_exactly(frames.HEADER_BYTES)
    return frames.parse(_read_exactly(frames.length(header))) if header else None


def _read_exactly(count: int) -> bytes:
    """Return `count` bytes from CONTROL, or no bytes if the supervisor has closed its end."""
    pieces = []
    while count:
        piece = _os_read(CONTROL, count)
        if not piece:
            return b""
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _reserve_memory() -> mmap.mmap | None:
    """Reserve address space, which is what RLIMIT_AS limits, without touching a page; None if none is left."""
    try:
        return mmap.mmap(-1, _RESERVE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        return None


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
