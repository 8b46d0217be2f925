"""One JSON line on stderr for each snippet: who ran what, under which limits, and how it ended. Never the code."""

import hashlib
import json
import logging
import sys
import time
from dataclasses import asdict

from deepmath.executor.v1 import executor_pb2 as pb
from services.executor.limits import Limits

_log = logging.getLogger(__name__)


def set_up() -> None:
    """Write the lines bare, whatever the level of the other logs is."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False


def record(session_id: str, code: str, limits: Limits, result: pb.SnippetResult) -> None:
    """Write the line of one snippet. Its outcome is UNSPECIFIED where the client went before there was one."""
    usage = result.usage
    line = {
        "time": round(time.time(), 3),
        "session": session_id,
        "sequence": result.sequence,
        "code_sha256": hashlib.sha256(code.encode()).hexdigest(),
        "outcome": pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_"),
        "limits": asdict(limits),
        "queue_ms": round(usage.queue_ms, 3),
        "wall_ms": round(usage.wall_ms, 3),
        "cpu_ms": round(usage.cpu_ms, 3),
        "peak_memory_bytes": usage.peak_memory_bytes,
    }
    _log.info("%s", json.dumps(line, separators=(",", ":")))
