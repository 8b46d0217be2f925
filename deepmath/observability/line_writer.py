"""Bounded writer of lines to a descriptor: the caller never waits for a slow disk or a reader that has stopped.

A thread writes the lines. Those that find the queue full, and those that cannot be written, are lost and counted; once
lines are accepted again, a line that says how many were lost takes their place.
"""

import atexit
import os
import select
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

_MOST_QUEUED_BYTES = 4 << 20
_BATCH_BYTES = 64 << 10  # the capacity of a pipe
_CLOSE_SECONDS = 1.0
_RETRY_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class _Line:
    data: bytes
    stands_for: int = 1  # lines that are lost with it
    is_new: bool = True  # not counted as lost before


class LineWriter:
    """Writes lines to `descriptor`, in the order in which they come. Writers to one descriptor take turns.

    It stops with the interpreter, after at most a second, if `close` is not called before.

    Args:
        descriptor: Open for writing. It is not closed.
        gap: Returns the line that reports so many lost lines.
        on_failure: Called in the writer's thread with the reason when writing starts to fail.
        most_queued_bytes: Bytes that may wait to be written.
    """

    _turns: ClassVar[defaultdict[int, threading.Lock]] = defaultdict(threading.Lock)

    def __init__(
        self,
        descriptor: int,
        gap: Callable[[int], bytes],
        on_failure: Callable[[str], None] = lambda _: None,
        most_queued_bytes: int = _MOST_QUEUED_BYTES,
    ) -> None:
        self._descriptor = descriptor
        self._gap, self._on_failure = gap, on_failure
        self._most_queued_bytes = most_queued_bytes
        self.lost = 0
        """Lines lost so far."""
        self._unreported = 0  # among them
        self._failing = self._torn = False
        self._start_over()
        os.register_at_fork(after_in_child=self._start_over)  # a child has none of its parent's threads
        atexit.register(self.close)

    def _start_over(self) -> None:
        # Re-entrant: a signal handler may write a line while its thread is in here.
        self._changed = threading.Condition(threading.RLock())
        self._lines: deque[_Line] = deque()
        self._queued_bytes = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def write(self, line: bytes) -> None:
        """Queue `line`, or count it as lost if the queue is full. The next one continues it if no line feed ends it."""
        with self._changed:
            if self._closed or self._queued_bytes + len(line) > self._most_queued_bytes:
                self._count_lost(1)
                return
            self._report_gap()
            self._queue(_Line(line))

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._queued_bytes

    def flush(self, seconds: float = _CLOSE_SECONDS) -> bool:
        """Wait until every queued line is written or lost, at most so many seconds; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queued_bytes, seconds)

    def close(self) -> None:
        """Flush and stop. Lines that are still queued after a second are not written."""
        atexit.unregister(self.close)
        with self._changed:
            if self._closed:
                return
            self._report_gap()
            self._changed.wait_for(lambda: not self._queued_bytes, _CLOSE_SECONDS)
            self._closed = True
            self._changed.notify_all()

    def _queue(self, line: _Line) -> None:
        self._lines.append(line)
        self._queued_bytes += len(line.data)
        self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="line-writer", daemon=True)
            self._thread.start()

    def _report_gap(self) -> None:
        if self._unreported:
            self._queue(_Line(self._gap(self._unreported), self._unreported, is_new=False))
            self._unreported = 0

    def _count_lost(self, lines: int) -> None:
        self.lost += lines
        self._unreported += lines

    def _run(self) -> None:
        while batch := self._next_batch():
            data = b"".join(line.data for line in batch)
            with self._turns[self._descriptor]:
                written, reason = self._write_all(data)
            self._settle(batch, written, reason)

    def _next_batch(self) -> list[_Line]:
        """Return the next lines, at least one; none once the writer is closed. They stay counted as queued."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closed)
            batch: list[_Line] = []
            size = 0
            while self._lines and not self._closed and (not batch or size + len(self._lines[0].data) <= _BATCH_BYTES):
                batch.append(self._lines.popleft())
                size += len(batch[-1].data)
            return batch

    def _write_all(self, data: bytes) -> tuple[int, str]:
        """Return how many bytes were written, and why not all."""
        separator = b"\n" if self._torn else b""  # ends a partial line before the next one
        data = separator + data
        sent, reason = 0, ""
        while sent < len(data):
            try:
                sent += os.write(self._descriptor, memoryview(data)[sent:])
            except BlockingIOError:
                self._wait_for_room()
            except OSError as error:
                reason = error.strerror or str(error)
                break
        if sent:
            self._torn = bool(reason) and data[sent - 1 : sent] != b"\n"
        return max(0, sent - len(separator)), reason

    def _wait_for_room(self) -> None:
        """Wait for the reader of a pipe or terminal that is non-blocking."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        if poll.poll():
            time.sleep(_RETRY_SECONDS)  # room for less than a whole line is reported as room

    def _settle(self, batch: list[_Line], written: int, reason: str) -> None:
        """Take a batch off the queue, and count its lines that were not written."""
        with self._changed:
            for line in batch:
                written -= len(line.data)
                if written < 0:
                    self.lost += line.stands_for if line.is_new else 0
                    self._unreported += line.stands_for
                self._queued_bytes -= len(line.data)
            self._changed.notify_all()
        if reason and not self._failing:
            self._on_failure(reason)
        self._failing = bool(reason)
