"""Audit log: one JSON line per snippet with its client, code hash, limits, outcome and usage."""

import errno
import hashlib
import json
import logging
import os
import time
from dataclasses import fields

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.observability import request_id
from deepmath.sandbox.limits import Limits
from deepmath_executor.caller import Caller

log = logging.getLogger(__name__)

_STDERR = 2
# Non-blocking: a named pipe that is full or has no reader costs a line and does not block the service.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_OWNER_ONLY = 0o600
_LIMITS = tuple(field.name for field in fields(Limits))
_encode = json.JSONEncoder(separators=(",", ":")).encode


class AuditLog:
    """Appends to the file `path`, or writes to stderr if `path` is empty. Includes the code only if `with_code`.

    A line that cannot be written is counted in `lost`; its snippet still returns its result.

    Raises:
        Unavailable: The file cannot be written; the message says why.
    """

    def __init__(self, path: str, with_code: bool) -> None:
        self._name = path or "stderr"
        self._with_code = with_code
        self._descriptor = _open(path) if path else _STDERR
        self._failing = False
        self._separator = b""
        self.lost = 0

    def record(self, caller: Caller, session: str, code: str, limits: Limits, result: pb.SnippetResult) -> None:
        """Write the line of one snippet. The outcome is UNSPECIFIED if the client disconnected before there was one."""
        usage = result.usage
        line = {
            "time": round(time.time(), 3),
            "client": caller.name,
            "host": caller.host,
            "session": session,
            "request_id": request_id.current.get(),
            "sequence": result.sequence,
            "code_sha256": hashlib.sha256(code.encode()).hexdigest(),
            "outcome": pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_"),
            "limits": {name: getattr(limits, name) for name in _LIMITS},
            "queue_ms": round(usage.queue_ms, 3),
            "wall_ms": round(usage.wall_ms, 3),
            "cpu_ms": round(usage.cpu_ms, 3),
            "peak_memory_bytes": usage.peak_memory_bytes,
            "host_calls": usage.host_calls,
            "host_ms": round(usage.host_ms, 3),
        }
        if self._with_code:
            line["code"] = code
        self._write(_encode(line).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        line = self._separator + line
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            self._count_lost(str(error.strerror))
            return
        if written < len(line):
            self._separator = b"\n"  # ends the partial line before the next one
            self._count_lost("no room for the whole line")
        else:
            self._separator, self._failing = b"", False

    def _count_lost(self, reason: str) -> None:
        self.lost += 1
        if not self._failing:  # log once, not for every line
            log.error("cannot write audit log %s: %s; lines are lost until it is writable again", self._name, reason)
        self._failing = True


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
