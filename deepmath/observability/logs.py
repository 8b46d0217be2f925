"""Logging to stderr as text or as one JSON object per line, each line with its request id."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from deepmath.observability import request_id, tracing

Format = Literal["text", "json"]

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class TextFormatter(logging.Formatter):
    """Time, level, logger, message, and the request id if there is one."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without a traceback."""
        line = super().formatMessage(record)
        request = request_id.current.get()
        return f"{line} [request {request}]" if request else line


class JsonFormatter(logging.Formatter):
    """One object per line. Line breaks in a message are escaped, so that no message can forge a line."""

    def __init__(self, service: str = "") -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        created = datetime.fromtimestamp(record.created, UTC)
        line = {
            "level": record.levelname.lower(),
            "time": created.isoformat(timespec="milliseconds"),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.current.get(),
            "trace_id": tracing.trace_id(),
            "exception": self.formatException(record.exc_info) if record.exc_info else "",
        }
        return json.dumps({name: value for name, value in line.items() if value}, ensure_ascii=False)


def set_up_logging(level: str, style: Format = "text", service: str = "") -> None:
    """Log to stderr at `level` (debug, info, warning or error) and above; JSON lines name the `service`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service) if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
