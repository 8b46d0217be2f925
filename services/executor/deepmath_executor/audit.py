"""Audit log: one JSON line per snippet with its client, code hash, limits, outcome and usage."""

import errno
import hashlib
import json
import logging
import os
import random
import time
from dataclasses import fields

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.observability import request_id
from deepmath.observability.line_writer import LineWriter
from deepmath.observability.log_line import timestamp
from deepmath.observability.standard_streams import descriptor_of
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.snippet import Snippet
from deepmath_executor.caller import Caller

log = logging.getLogger(__name__)

# Non-blocking, to fail on a named pipe without a reader.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_OWNER_ONLY = 0o600
_LIMITS = tuple(field.name for field in fields(Limits))
_random = random.SystemRandom().random
_encode = json.JSONEncoder(separators=(",", ":")).encode


class AuditLog:
    """Appends to the file `path`, or writes to stderr if `path` is empty. Includes the code only if `with_code`.

    Of the snippets with outcome OK, only those of a fraction `sample` of the sessions are recorded; all others always
    are. Which sessions is drawn, so that no client can influence it.

    Snippets do not wait for it: a thread writes the lines. One that cannot be written, or finds 4 MiB of lines waiting,
    is lost and counted; its snippet still returns its result. A line `{"time": ..., "lines_lost": N}` takes the place
    of lost lines. `close` it at the end.

    Raises:
        Unavailable: The file cannot be written; the message says why.
    """

    def __init__(self, path: str, with_code: bool, sample: float = 1.0) -> None:
        self._name = path or "stderr"
        self._with_code = with_code
        self._sample = sample
        descriptor = _open(path) if path else descriptor_of(2)
        self._writer = LineWriter(descriptor, _gap, self._warn)

    @property
    def lost(self) -> int:
        """Lines lost so far."""
        return self._writer.lost

    def close(self) -> None:
        """Write what is queued, for at most a second."""
        self._writer.close()

    def flush(self) -> None:
        """Wait until what is queued is written or lost, for at most a second."""
        self._writer.flush()

    def sample_session(self) -> bool:
        """Return whether to record the successful snippets of a new session."""
        return _random() < self._sample

    def record(
        self, caller: Caller, session: str, snippet: Snippet, result: pb.SnippetResult, sampled: bool = True
    ) -> None:
        """Queue the line of one snippet, unless it was successful and its session is not among the `sampled` ones.

        The outcome is UNSPECIFIED if the client disconnected before there was one.
        """
        if result.outcome == pb.OUTCOME_OK and not sampled:
            return
        usage = result.usage
        line: dict[str, object] = {
            "time": timestamp(time.time()),
            "client": caller.name,
            "host": caller.host,
            "session": session,
            "request_id": request_id.current.get(),
            "sequence": result.sequence,
            "code_sha256": hashlib.sha256(snippet.code.encode()).hexdigest(),
            "outcome": pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_"),
            "limits": {name: getattr(snippet.limits, name) for name in _LIMITS},
            "stdin_bytes": len(snippet.stdin.encode()),
            "queue_ms": round(usage.queue_ms, 3),
            "wall_ms": round(usage.wall_ms, 3),
            "cpu_ms": round(usage.cpu_ms, 3),
            "peak_memory_bytes": usage.peak_memory_bytes,
            "host_calls": usage.host_calls,
            "host_ms": round(usage.host_ms, 3),
        }
        if self._sample < 1:
            line["sample"] = self._sample if result.outcome == pb.OUTCOME_OK else 1.0
        if self._with_code:
            line["code"] = snippet.code
        self._writer.write(_line(line))

    def _warn(self, reason: str) -> None:
        log.error("cannot write audit log %s: %s; lines are lost until it is writable again", self._name, reason)


def _gap(lines: int) -> bytes:
    return _line({"time": timestamp(time.time()), "lines_lost": lines})


def _line(content: dict[str, object]) -> bytes:
    return _encode(content).replace("\x7f", "\\u007f").encode() + b"\n"


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, _FLAGS, _OWNER_ONLY)
        os.write(descriptor, b"")
        file_system = os.fstatvfs(descriptor)
        if file_system.f_blocks and not file_system.f_bavail:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise Unavailable(
            f"cannot write audit log {path}: {error.strerror}; set --audit-file to a writable file"
        ) from error
    return descriptor
