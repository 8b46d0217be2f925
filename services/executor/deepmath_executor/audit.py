"""The audit log: one line of JSON for each snippet, who ran what, under which limits, and how it ended."""

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
# A named pipe that is full or that nobody reads shall cost a line, not hold up the service.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_OWNER_ONLY = 0o600
_LIMITS = tuple(field.name for field in fields(Limits))
_encode = json.JSONEncoder(separators=(",", ":")).encode


class AuditLog:
    """Appends to the file at `path`, or writes to stderr where that is empty; the code itself only `with_code`.

    A line that cannot be written is counted in `lost` and costs no snippet its result.

    Raises:
        Unavailable: the file cannot be written; the message says why.
    """

    def __init__(self, path: str, with_code: bool) -> None:
        self._name = path or "stderr"
        self._with_code = with_code
        self._descriptor = _open(path) if path else _STDERR
        self._failing = False
        self._torn = b""
        self.lost = 0

    def record(self, caller: Caller, session: str, code: str, limits: Limits, result: pb.SnippetResult) -> None:
        """Write the line of one snippet. Its outcome is UNSPECIFIED where the client went before there was one."""
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
        line = self._torn + line
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            self._lose(str(error.strerror))
            return
        if written < len(line):
            self._torn = b"\n"  # the next line shall not begin where this one broke off
            self._lose("no room for the whole line")
        else:
            self._torn, self._failing = b"", False

    def _lose(self, reason: str) -> None:
        self.lost += 1
        if not self._failing:  # once, not for every line
            log.error(
                "cannot write to the audit log %s: %s; lines are lost until it can be written", self._name, reason
            )
        self._failing = True


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, _FLAGS, _OWNER_ONLY)
        os.write(descriptor, b"")
        room = os.fstatvfs(descriptor)
        if room.f_blocks and not room.f_bavail:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise Unavailable(
            f"cannot write the audit log {path}: {error.strerror}; name a file that can be written with --audit-file"
        ) from error
    return descriptor
