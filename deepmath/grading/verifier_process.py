"""A worker process of the verifier: started on demand, killed when it does not reply in time."""

import json
import os
import select
import subprocess
import sys
from math import ceil
from pathlib import Path
from threading import Lock
from typing import IO

from deepmath.errors import Unavailable

_MEMORY = 1 << 30  # address space of a worker, in bytes; its libraries take 80 MiB
_RETIREMENT_MEMORY = _MEMORY // 2  # peak memory in bytes after which a worker is replaced: little is left
_START_TIMEOUT_S = 120.0  # importing sympy on a busy machine
_GRACE_S = 5  # seconds past the timeout after which an orphaned worker terminates itself
# The only environment variables that a worker inherits: no tokens, no passwords.
_INHERITED = ("LD_LIBRARY_PATH", "PATH", "PYTHONPATH")
_PROGRAM = Path(__file__).with_name("verifier_worker.py")


class NoReplyError(Exception):
    """The comparison timed out, crashed the worker, or was cancelled by `stop`."""


class VerifierProcess:
    """A handle for one worker. The first request starts the process; the next one restarts a killed process."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._starting = Lock()  # against `stop` from another thread

    def request(self, request: tuple[str, ...]) -> bool | None:
        """Return the verdict on (gold,) or (gold, answer), as defined in `verifier_worker`.

        Raises:
            NoReplyError: there was no reply in time. The process is then killed.
            Unavailable: the process does not start.
        """
        process = self._running()
        try:
            _pipe(process.stdin).write(json.dumps(request).encode() + b"\n")
            reply = _read_line(_pipe(process.stdout), self._timeout_s)
        except BrokenPipeError:
            reply = b""
        if not reply:
            self.kill()
            raise NoReplyError
        verdict, peak = json.loads(reply)
        if peak > _RETIREMENT_MEMORY:
            self.kill()
        return None if verdict is None else bool(verdict)

    def stop(self) -> None:
        """Kill the process, even while another thread waits for its reply, and never start another one."""
        with self._starting:
            self._stopped = True
            process = self._process
        if process is not None:
            process.kill()

    def kill(self) -> None:
        """Kill the process, if there is one, and release its pipes."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _pipe(process.stdin).close()
            _pipe(process.stdout).close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.kill()
        with self._starting:
            if self._stopped:
                raise NoReplyError
            process = self._process = self._spawn()
        if _read_line(_pipe(process.stdout), _START_TIMEOUT_S) != b"ready\n":
            self.kill()
            if self._stopped:
                raise NoReplyError
            raise Unavailable("cannot start math-verify, which compares answers; is the extra `evaluation` installed?")
        return process

    def _spawn(self) -> subprocess.Popen[bytes]:
        seconds = ceil(self._timeout_s) + _GRACE_S
        return subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM), str(seconds), str(_MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ} | {"PYTHONHASHSEED": "0"},
            start_new_session=True,  # Ctrl-C reaches only this process
        )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _read_line(pipe: IO[bytes], timeout_s: float) -> bytes:
    """Return the next line, or nothing after the timeout or at the end of the stream.

    Workers write each line in one call, so a line that has started to arrive is complete.
    """
    poll = select.poll()  # not `select`: a trainer may have more than 1024 files open
    poll.register(pipe, select.POLLIN)
    return pipe.readline() if poll.poll(timeout_s * 1000) else b""
