"""Logging to stderr as text or as one JSON object per line, each line with its request id.

Logging never waits for the reader of stderr: lines that it does not read in time are lost and counted
(`line_writer.py`).
"""

import logging
import sys
import threading
from contextvars import Context
from textwrap import indent
from typing import Any, Literal

from deepmath.observability import request_id, tracing
from deepmath.observability.line_writer import LineWriter
from deepmath.observability.log_line import encode_log_line
from deepmath.observability.standard_streams import descriptor_of, print_last_words, relay_output
from deepmath.printable_text import printable, printable_line

Format = Literal["text", "json"]

_INDENT = "    "
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LOST = "%d log lines were lost here: stderr was not read in time, or could not be written"


class TextFormatter(logging.Formatter):
    """Time, level, logger, message, and the request id if there is one.

    Line breaks and control characters in a message are escaped, and the lines of a traceback are indented: no text can
    forge a line, or steer the terminal that shows it.
    """

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without a traceback."""
        line = printable_line(super().formatMessage(record))
        request = request_id.current.get()
        return f"{line} [request {request}]" if request else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the traceback, indented."""
        return indent(printable(super().formatException(ei)), _INDENT)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Return the stack, indented."""
        return indent(printable(stack_info), _INDENT)


class JsonFormatter(logging.Formatter):
    """One object per line. Line breaks and control characters are escaped: no text can forge a line."""

    def __init__(self, service: str = "") -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = encode_log_line(
            record.levelname.lower(),
            record.created,
            self._service,
            record.name,
            record.getMessage(),
            request_id=request_id.current.get(),
            trace_id=tracing.trace_id(),
            exception=self.formatException(record.exc_info) if record.exc_info else "",
        )
        return line.decode().removesuffix("\n")


class LineHandler(logging.Handler):
    """Writes log records to `descriptor` by a `LineWriter`."""

    def __init__(self, formatter: logging.Formatter, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = LineWriter(descriptor, lambda lines: Context().run(self._gap, lines))

    @property
    def lost(self) -> int:
        """Lines that could not be written so far."""
        return self._writer.lost

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of `record`."""
        try:
            self._writer.write(self._line(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Write what is queued, for at most a second."""
        self._writer.close()
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    def _gap(self, lines: int) -> bytes:
        arguments = (__name__, logging.WARNING, __file__, 0, _LOST, (lines,))
        return self._line(logging.LogRecord(*arguments, exc_info=None))


def set_up_logging(level: str, style: Format = "text", service: str = "") -> None:
    """Log to stderr at `level` (debug, info, warning or error) and above; JSON lines name the `service`.

    Warnings of Python and unhandled exceptions are logged too.
    """
    formatter = JsonFormatter(service) if style == "json" else TextFormatter()
    handler = LineHandler(formatter, descriptor_of(2))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(True)
    sys.excepthook = _log_unhandled
    threading.excepthook = lambda error: _log_unhandled(error.exc_type, error.exc_value, error.exc_traceback)


def set_up_service_logging(level: str, style: Format, service: str) -> None:
    """Set up logging as the first step of a service. With JSON, what anything prints becomes a JSON object too."""
    if style == "json":
        relay_output(service)
    set_up_logging(level, style, service)


def current_format() -> Format:
    """Return the format of this process's log."""
    return "json" if any(isinstance(handler.formatter, JsonFormatter) for handler in _handlers()) else "text"


def report_error(message: str) -> None:
    """Write the reason for which this process ends: as a line of the log if that is JSON, otherwise alone."""
    if current_format() == "json":
        logging.getLogger(__name__).error("%s", message)
    else:
        print_last_words(message)


def lost_lines() -> int:
    """Return how many log lines of this process could not be written."""
    return sum(handler.lost for handler in _handlers())


def _handlers() -> list[LineHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LineHandler)]


def _log_unhandled(kind: type[BaseException], error: BaseException | None, traceback: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), traceback)
    elif not issubclass(kind, SystemExit):
        logging.getLogger(__name__).critical("unhandled exception", exc_info=(kind, error or kind(), traceback))
