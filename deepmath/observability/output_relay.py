"""`python -m deepmath.observability.output_relay SETTINGS`: forwards what other processes print, line by line.

It always reads, so that no library that prints directly waits for a disk or a reader that has stopped; lines that find
4 MiB waiting are lost, and a line says how many. With a `service`, each line becomes a JSON object unless it is one. It
is a process of its own: the last words of a process that is killed or aborts are forwarded too. It ends when all
writers have closed their ends, and ignores the signals that end them.

Only light modules are imported: a relay takes 12 MB and starts within 40 ms.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from deepmath.observability.bounded_log_file import BoundedLogFile
from deepmath.observability.line_writer import LineWriter
from deepmath.observability.log_line import encode_log_line, is_log_line
from deepmath.printable_text import printable, printable_line

MAX_FILE_BYTES = 8 << 20
"""Default size at which a log file is started anew."""

_READ_BYTES = 1 << 16
_MAX_LINE_BYTES = 1 << 20  # printed ones; longer lines are split
_MOST_QUEUED_BYTES = 1 << 20  # of `records`
_POLL_S = 0.01
_LAST_LINES_S = 10.0  # for their reader
_LOGGER = "output"
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True)
class RelaySettings:
    """Descriptors to read, which the relay inherits, and places to write to.

    `records` has log lines of a process that counts its own losses: they are passed on unchanged, and read only as far
    as they can be written. `stdout` and `stderr` have what is printed, for the relay's own stdout and stderr.
    """

    service: str = ""
    """Name of the service in JSON objects; empty for text, of which control characters are escaped."""
    records: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    forward: bool = True
    """Whether to write to stdout and stderr."""
    file: str = ""
    """Also write all lines to this file."""
    max_file_bytes: int = MAX_FILE_BYTES

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors to pass to the relay."""
        return tuple(number for number in (self.records, self.stdout, self.stderr) if number is not None)

    def command(self) -> list[str]:
        """Return the command line of the relay."""
        return [sys.executable, "-P", "-m", __spec__.name, json.dumps(asdict(self))]


@dataclass
class OutputRelay:
    """The threads that read, and the writers that they share."""

    settings: RelaySettings
    threads: list[threading.Thread] = field(default_factory=list)

    def run(self) -> None:
        """Forward until all inputs end."""
        settings = self.settings
        err = LineWriter(2, self._gap) if settings.forward else None
        file = self._open_file(err)
        # One writer for one pipe: two would tear each other's lines.
        out = err if err and os.path.sameopenfile(1, 2) else LineWriter(1, self._gap) if settings.forward else None
        self._read(settings.records, _whole_lines, partial(_write_patiently, err))
        for descriptor, writer in ((settings.stdout, out), (settings.stderr, err)):
            self._read(descriptor, printed_lines, partial(self._write, [place for place in (writer, file) if place]))
        for thread in self.threads:
            thread.join()
        for place in (out, err, file):
            if place:
                place.flush(_LAST_LINES_S)
                place.close()

    def _read(
        self, descriptor: int | None, lines: Callable[[int], Iterator[bytes]], write: Callable[[bytes], None]
    ) -> None:
        """Start a thread that writes the lines of an input, if there is one."""
        if descriptor is not None:
            self.threads.append(threading.Thread(target=_forward, args=(descriptor, lines(descriptor), write)))
            self.threads[-1].start()

    def _write(self, places: list[LineWriter | BoundedLogFile], line: bytes) -> None:
        text = line.decode(errors="replace")
        if not self.settings.service:
            line = printable(text).encode() + b"\n"
        elif is_log_line(line):
            line += b"\n"
        elif text.strip():
            line = self._wrap("info", text)
        else:
            return
        for place in places:
            place.write(line)

    def _open_file(self, err: LineWriter | None) -> BoundedLogFile | None:
        path = self.settings.file
        try:
            return BoundedLogFile(Path(path), self.settings.max_file_bytes, self._gap) if path else None
        except OSError as error:
            if err:
                err.write(self._own_line("error", f"cannot write the log {path}: {error.strerror}"))
            return None

    def _gap(self, lines: int) -> bytes:
        message = f"{lines} lines were lost here: they were not read in time, or could not be written"
        return self._own_line("warning", message)

    def _own_line(self, level: str, message: str) -> bytes:
        return self._wrap(level, message) if self.settings.service else f"{printable_line(message)}\n".encode()

    def _wrap(self, level: str, message: str) -> bytes:
        return encode_log_line(level, time.time(), self.settings.service, _LOGGER, message)


def _forward(descriptor: int, lines: Iterable[bytes], write: Callable[[bytes], None]) -> None:
    try:
        for line in lines:
            write(line)
    finally:  # after an error too, no writer waits
        while os.read(descriptor, _READ_BYTES):
            pass


def printed_lines(descriptor: int) -> Iterator[bytes]:
    r"""Yield the lines without their ends until the end of the file; longer ones than 1 MiB are split.

    Of a line that was overwritten with `\r`, as progress bars are, the last state is the line.
    """
    rest = b""
    while data := os.read(descriptor, _READ_BYTES):
        *complete, rest = (rest + data).split(b"\n")
        for line in complete:
            yield _last_state(line)
        rest = _last_state(rest) + rest[len(rest.rstrip(b"\r")) :]
        while len(rest) > _MAX_LINE_BYTES:
            yield rest[:_MAX_LINE_BYTES]
            rest = rest[_MAX_LINE_BYTES:]
    if rest:
        yield _last_state(rest)


def _whole_lines(descriptor: int) -> Iterator[bytes]:
    parts: list[bytes] = []
    while data := os.read(descriptor, _READ_BYTES):
        *complete, rest = data.split(b"\n")
        for line in complete:
            yield b"".join((*parts, line, b"\n"))
            parts.clear()
        parts.append(rest)


def _last_state(line: bytes) -> bytes:
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def _write_patiently(writer: LineWriter | None, line: bytes) -> None:
    if writer:
        while writer.queued_bytes > _MOST_QUEUED_BYTES:
            time.sleep(_POLL_S)
        writer.write(line)


def main() -> None:
    """Run the relay with the settings in the first argument."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    OutputRelay(RelaySettings(**json.loads(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
