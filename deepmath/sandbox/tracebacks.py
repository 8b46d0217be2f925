"""Descriptions of exceptions raised by a snippet, without any path of the server."""

import linecache
import traceback
import types
from collections.abc import Iterator

from deepmath.sandbox.bounded_text import cut

SNIPPET_FILE_PREFIX = "<snippet "
_MOST_FRAMES = 100  # per traceback, half from each end
_TYPE_BYTES = 256
_TRACEBACK_BYTES = 16 << 10


def snippet_filename(sequence: int) -> str:
    """Return the file name under which snippet `sequence` is compiled."""
    return f"{SNIPPET_FILE_PREFIX}{sequence}>"


def register_source(filename: str, code: str) -> None:
    """Let tracebacks quote the lines of `code`."""
    # A cache entry without a time stamp: linecache never looks for the file.
    linecache.cache[filename] = (len(code), None, [line + "\n" for line in code.splitlines()], filename)


def describe(error: BaseException, limit: int) -> dict[str, str]:
    """Return type, message (cut to `limit` bytes) and traceback of `error`.

    The traceback shows frames of snippets only. The exception may be hostile: a description is returned whatever its
    methods do, unless one of them never returns.
    """
    return {
        "type": cut(_type_name(type(error)), _TYPE_BYTES)[0],
        "message": cut(_message(error), limit)[0],
        "traceback": cut(_traceback(error), min(limit, _TRACEBACK_BYTES))[0],
    }


def _type_name(kind: type[BaseException]) -> str:
    # Read from `type` itself, which bypasses any metaclass of the snippet; `str.__str__` bypasses subclasses of `str`.
    name = str.__str__(type.__dict__["__qualname__"].__get__(kind))
    module = type.__dict__["__module__"].__get__(kind)
    module = str.__str__(module) if isinstance(module, str) else "__main__"
    return name if module in ("builtins", "__main__") else f"{module}.{name}"


def _message(error: BaseException) -> str:
    try:
        return str.__str__(str(error))
    except BaseException as failure:
        return f"<str() of the exception failed with {_type_name(type(failure))}>"


def _traceback(error: BaseException) -> str:
    try:
        for linked in _chain(error):
            linked.__traceback__ = _keep_snippet_frames(linked.__traceback__)
        return "".join(traceback.format_exception(error))
    except BaseException as failure:
        return f"<the traceback could not be formatted: {_type_name(type(failure))}>"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and every exception that its traceback will show."""
    waiting, seen = [error], set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [linked for linked in (current.__cause__, current.__context__) if linked is not None]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions


def _keep_snippet_frames(entry: types.TracebackType | None) -> types.TracebackType | None:
    frames = []
    while entry is not None:
        if entry.tb_frame.f_code.co_filename.startswith(SNIPPET_FILE_PREFIX):
            frames.append(entry)
        entry = entry.tb_next
    if len(frames) > _MOST_FRAMES:
        frames = frames[: _MOST_FRAMES // 2] + frames[-_MOST_FRAMES // 2 :]
    kept: types.TracebackType | None = None
    for frame in reversed(frames):
        kept = types.TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept
