"""Preflight: syntax errors and disallowed imports, reported without a sandbox.

Theory of operation
-------------------
Preflight refuses a snippet only if its text alone proves the result that a sandbox would return: the same outcome,
message and traceback, no output, and no variable changed. A service with preflight and one without thus return the same
results, and every doubtful snippet goes to a sandbox:

* Code that does not parse is refused. Errors that only the compiler finds (`return` outside a function) are not looked
  for: compiling nested `finally` blocks takes time exponential in their depth.
* The import of a disallowed module is refused if it certainly runs and nothing with an effect runs before it. An import
  inside `if`, `try` or `def`, or after other statements, is left to the sandbox.
* Code for which Python issues a warning is not refused, because the sandbox would print the warning.

The parser runs in the supervisor, where a snippet must neither crash it nor block other sessions. Its time is linear in
the length of the text: 0.3 us per byte for ordinary code and 5 us for the worst code found, so MAX_BYTES limits it. Its
recursion depth is limited in advance by counting tokens, which no string or comment can lower.
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

# Each level of nesting needs one of these, except for blocks, of which Python's tokenizer allows 100.
_NESTING = ("(", "[", "{", *"+-~*/%@&|^<>.", "not", "lambda", "if", "else", "await")
_MAX_NESTING = 1000  # 4 KiB of ordinary code contain 400
# Sandboxes do not limit the digits of a number; the supervisor's Python does, and never below 640.
_LONG_NUMBER = re.compile(r"[0-9_]{600}")
_IMPORTED = re.compile(r"(?:^|;)[ \t]*(?:import|from)[ \t]+(\w+)", re.MULTILINE)
_MAX_COMPILED = 2 << 10  # compiling and then parsing takes twice as long
# Tokens in whose count the compile time is superlinear, with the count allowed. `*` repeats constants.
_HARD_TO_COMPILE = {"finally": 0, "case": 0, "lambda": 10, "*": 50}
# No file can exist below a file; Python looks for this one when it reports an error.
_NOWHERE = "/dev/null/snippet"

_policy = ImportPolicy(ALLOWED_MODULES)


class _Warned(Exception):
    """Python issued a warning."""


def predicts_errors_of(versions: Mapping[str, str]) -> bool:
    """Return whether sandboxes with these versions word errors as this process does; another patch release may not."""
    return versions["python"] == platform.python_version()


def preflight_result(code: str, sequence: int, output_bytes: int, alone: bool) -> pb.SnippetResult | None:
    """Return the result of a snippet that is refused; None if it must run.

    `alone` says that no snippet follows in the session: the modules imported before a refused import then do not
    matter.
    """
    if _is_too_complex(code):
        return None
    filename = snippet_filename(sequence)
    try:
        with _warnings_raised():
            if error := _syntax_error(code, filename):
                return _result("EXCEPTION", error, sequence, output_bytes)
            if all(map(_is_allowed, _IMPORTED.findall(code))):
                return None
            with _source_registered(code, filename):
                if refusal := _import_error(code, filename, alone):
                    return _result("POLICY_VIOLATION", refusal, sequence, output_bytes)
    except Exception:  # MemoryError, RecursionError, a warning: nothing is proven
        return None
    return None


def _is_too_complex(code: str) -> bool:
    return (
        len(code.encode()) > MAX_BYTES
        or sum(map(code.count, _NESTING)) > _MAX_NESTING
        or _LONG_NUMBER.search(code) is not None
    )


def _result(outcome: str, error: Exception, sequence: int, output_bytes: int) -> pb.SnippetResult:
    # By the functions that build a sandbox's result, so that it is truncated in the same way.
    message = {"outcome": outcome, "sequence": sequence, "exception": describe(error, output_bytes)}
    return to_result(message, sequence, output_bytes)


def _syntax_error(code: str, filename: str) -> SyntaxError | None:
    """Return the error of the parser, if any."""
    try:
        symtable.symtable(code, _NOWHERE, "exec")  # twice as fast as ast.parse, because it builds no Python objects
    except SyntaxError as error:
        # An error of the parser quotes its line from the text; one of a later stage looks for the file.
        if error.text is None:
            raise
        error.filename = filename
        return error
    return None


def _import_error(code: str, filename: str, alone: bool) -> ImportError | None:
    """Return the error of the first disallowed import, if nothing with an effect comes before it."""
    if len(code) > _MAX_COMPILED or any(code.count(token) > allowed for token, allowed in _HARD_TO_COMPILE.items()):
        return None
    compile(code, _NOWHERE, "exec", dont_inherit=True)  # the sandbox compiles everything before it runs anything
    for statement in ast.parse(code).body:
        modules = _modules(statement)
        for module in modules:
            if refusal := _policy.refuse(module):
                return _raise_in_place_of(statement, refusal, filename)
            if not (alone and _cannot_fail(statement, module)):
                return None
        if not modules and not _has_no_effect(statement):
            return None
    return None


def _modules(statement: ast.stmt) -> list[str]:
    """Return the modules that `statement` imports, in order, except relative imports, whose errors are Python's own."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        return [statement.module]
    return []


def _is_allowed(module: str) -> bool:
    return _policy.refuse(module) is None


def _has_no_effect(statement: ast.stmt) -> bool:
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or isinstance(statement, ast.Pass)


def _cannot_fail(statement: ast.stmt, module: str) -> bool:
    # Allowed modules are installed. A submodule, or a name in a module, may not exist.
    has_names = isinstance(statement, ast.ImportFrom) and statement.names[0].name != "*"
    return module in ALLOWED_MODULES and not has_names


def _raise_in_place_of(statement: ast.stmt, refusal: ImportError, filename: str) -> ImportError:
    """Return `refusal` with the traceback of `statement`, by running an import at its position that raises it."""
    substitute = ast.copy_location(ast.Import([ast.alias(str(refusal.name))]), statement)
    program = compile(ast.fix_missing_locations(ast.Module([substitute], [])), filename, "exec", dont_inherit=True)

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
        # Not the filter "error", which turns warnings of the compiler into SyntaxError.
        warnings.showwarning = stop  # type: ignore[assignment]
        yield


@contextmanager
def _source_registered(code: str, filename: str) -> Iterator[None]:
    """Let tracebacks quote `code`, as in the sandbox."""
    register_source(filename, code)
    try:
        yield
    finally:
        del linecache.cache[filename]
