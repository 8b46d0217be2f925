"""Pre-flight validation: what can be told of a snippet without running it is told without a sandbox.

Theory of operation
-------------------
A snippet is refused here only where a fresh look at its text proves what a sandbox would answer: the same outcome, the
same message and traceback, nothing printed, and no variable changed. So a service with validation and one without give
the same results, and whatever is in doubt goes on to the sandbox:

* Code that does not parse is refused. What the compiler finds behind the parser (`return` outside of a function) is
  not looked for: compiling nested `finally` blocks takes time exponential in their depth.
* An import of a module outside of the allow-list is refused where it is sure to be reached with nothing done before it.
  Within `if` it may not be reached, within `try` it may be caught, within `def` it may never be called, and behind
  other statements these would have to have run first: all of that is for run time.
* Code that makes Python warn is not refused, because the sandbox would print the warning.

The parser runs in the supervisor, where a snippet must neither crash it nor hold up the others. Its time is linear in
the text, 0.3 us a byte for ordinary code and 5 us for the worst that was found, so that MAX_BYTES bounds it.
Its depth is bounded before it starts by a count that no string or comment can lower.
"""

import ast
import linecache
import platform
import re
import symtable
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.allowed_modules import ALLOWED_MODULES
from deepmath.sandbox.import_policy import ImportPolicy
from deepmath.sandbox.supervisor.result_parser import to_result
from deepmath.sandbox.tracebacks import describe, register_source, snippet_filename

MAX_BYTES = 4 << 10  # 20 ms of hostile code

# Whatever nests takes one of these for each level, except for blocks, of which Python's tokenizer takes 100.
_NESTING = ("(", "[", "{", *"+-~*/%@&|^<>.", "not", "lambda", "if", "else", "await")
_MAX_NESTING = 1000  # 4 KiB of ordinary code have 400
# Sandboxes set no bound to the digits of a number, the supervisor's Python has one, which is never below 640.
_LONG_NUMBER = re.compile(r"[0-9_]{600}")
_IMPORTED = re.compile(r"(?:^|;)[ \t]*(?:import|from)[ \t]+(\w+)", re.MULTILINE)
_MAX_COMPILED = 2 << 10  # compiling and then parsing takes twice as long
# Whose number the time grows with faster than linearly, each with how often it may be there. `*` repeats constants.
_HARD_TO_COMPILE = {"finally": 0, "case": 0, "lambda": 10, "*": 50}
# Below a file, no file can be: Python looks for one by this name when it reports an error.
_NOWHERE = "/dev/null/snippet"

_policy = ImportPolicy(ALLOWED_MODULES)


class _Warned(Exception):
    """Python has something to say that is no error."""


def can_speak_for(versions: Mapping[str, str]) -> bool:
    """Whether sandboxes with these versions report errors in the words of this process: a patch release may not."""
    return versions["python"] == platform.python_version()


def refuse(code: str, sequence: int, output_bytes: int, alone: bool) -> pb.SnippetResult | None:
    """Return the result of a snippet that need not run; None where it has to.

    `alone` says that no snippet will come after it: then nobody sees what it would have imported before the refusal.
    """
    if _is_too_much(code):
        return None
    filename = snippet_filename(sequence)
    try:
        with _warnings_raised():
            if error := _syntax_error(code, filename):
                return _result("EXCEPTION", error, sequence, output_bytes)
            if all(map(_is_allowed, _IMPORTED.findall(code))):
                return None
            with _lines_known(code, filename):
                if refusal := _import_error(code, filename, alone):
                    return _result("POLICY_VIOLATION", refusal, sequence, output_bytes)
    except Exception:  # MemoryError, RecursionError, a warning: nothing is proved
        return None
    return None


def _is_too_much(code: str) -> bool:
    return (
        len(code.encode()) > MAX_BYTES
        or sum(map(code.count, _NESTING)) > _MAX_NESTING
        or _LONG_NUMBER.search(code) is not None
    )


def _result(outcome: str, error: Exception, sequence: int, output_bytes: int) -> pb.SnippetResult:
    # Through the same functions as an answer of a sandbox, so that it is cut and checked alike.
    message = {"outcome": outcome, "sequence": sequence, "exception": describe(error, output_bytes)}
    return to_result(message, sequence, output_bytes)


def _syntax_error(code: str, filename: str) -> SyntaxError | None:
    """Return what the parser says of `code`."""
    try:
        symtable.symtable(code, _NOWHERE, "exec")  # twice as fast as ast.parse: it makes no objects of the tree
    except SyntaxError as error:
        # The parser quotes the line from the text. What comes after the parser looks for the file, and is not for here.
        if error.text is None:
            raise
        error.filename = filename
        return error
    return None


def _import_error(code: str, filename: str, alone: bool) -> ImportError | None:
    """Return what the first import that is refused raises, if nothing that matters comes before it."""
    if len(code) > _MAX_COMPILED or any(code.count(text) > most for text, most in _HARD_TO_COMPILE.items()):
        return None
    compile(code, _NOWHERE, "exec", dont_inherit=True)  # the sandbox compiles all before it runs any
    for statement in ast.parse(code).body:
        modules = _modules(statement)
        for module in modules:
            if refusal := _policy.refuse(module):
                return _raised_in(statement, refusal, filename)
            if not (alone and _cannot_fail(statement, module)):
                return None
        if not modules and not _does_nothing(statement):
            return None
    return None


def _modules(statement: ast.stmt) -> list[str]:
    """Return what `statement` imports, in order, relative imports left out: they fail in Python's own way."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        return [statement.module]
    return []


def _is_allowed(module: str) -> bool:
    return _policy.refuse(module) is None


def _does_nothing(statement: ast.stmt) -> bool:
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or isinstance(statement, ast.Pass)


def _cannot_fail(statement: ast.stmt, module: str) -> bool:
    # All of them are loaded. A submodule or a name in one may not be there.
    has_names = isinstance(statement, ast.ImportFrom) and statement.names[0].name != "*"
    return module in ALLOWED_MODULES and not has_names


def _raised_in(statement: ast.stmt, refusal: ImportError, filename: str) -> ImportError:
    """Give `refusal` the traceback of `statement`: an import is run in its place, with a hook that raises it."""
    place = ast.copy_location(ast.Import([ast.alias(str(refusal.name))]), statement)
    program = compile(ast.fix_missing_locations(ast.Module([place], [])), filename, "exec", dont_inherit=True)

    def hook(*_: object) -> None:
        raise refusal

    with suppress(ImportError):
        exec(program, {"__builtins__": {"__import__": hook}})
    return refusal


@contextmanager
def _warnings_raised() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Warned

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Not the filter "error", which makes the compiler say SyntaxError.
        warnings.showwarning = stop  # type: ignore[assignment]
        yield


@contextmanager
def _lines_known(code: str, filename: str) -> Iterator[None]:
    """Let tracebacks quote `code`, in the way of the runner."""
    register_source(filename, code)
    try:
        yield
    finally:
        del linecache.cache[filename]
