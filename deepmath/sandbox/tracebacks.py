"""What a snippet raised, as a message without a path of the server in it."""

import traceback
import types
from collections.abc import Iterator

from deepmath.sandbox.bounded_text import cut

_MOST_FRAMES = 100  # of a traceback, half from each end
_TYPE_BYTES = 256
_TRACEBACK_BYTES = 16 << 10


def describe(error: BaseException, limit: int, own_prefix: str) -> dict[str, str]:
    """Return type, message (cut to `limit` bytes) and traceback of `error`.

    Of the traceback only the frames whose file name begins with `own_prefix` are shown: the snippet's own.
    The exception may be hostile: whatever its methods do short of not returning, there is a description.
    """
    return {
        "type": cut(_type_name(type(error)), _TYPE_BYTES)[0],
        "message": cut(_message(error), limit)[0],
        "traceback": cut(_traceback(error, own_prefix), min(limit, _TRACEBACK_BYTES))[0],
    }


def _type_name(kind: type[BaseException]) -> str:
    # From the type itself, past any metaclass that the snippet may have made; and past any subclass of `str`.
    name = str.__str__(type.__dict__["__qualname__"].__get__(kind))
    module = type.__dict__["__module__"].__get__(kind)
    module = str.__str__(module) if isinstance(module, str) else "__main__"
    return name if module in ("builtins", "__main__") else f"{module}.{name}"


def _message(error: BaseException) -> str:
    try:
        return str.__str__(str(error))
    except BaseException as failure:
        return f"<str() of the exception failed with {_type_name(type(failure))}>"


def _traceback(error: BaseException, own_prefix: str) -> str:
    try:
        for linked in _chain(error):
            linked.__traceback__ = _keep_own_frames(linked.__traceback__, own_prefix)
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


def _keep_own_frames(entry: types.TracebackType | None, own_prefix: str) -> types.TracebackType | None:
    own = []
    while entry is not None:
        if entry.tb_frame.f_code.co_filename.startswith(own_prefix):
            own.append(entry)
        entry = entry.tb_next
    if len(own) > _MOST_FRAMES:
        own = own[: _MOST_FRAMES // 2] + own[-_MOST_FRAMES // 2 :]
    kept: types.TracebackType | None = None
    for entry in reversed(own):
        kept = types.TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept
