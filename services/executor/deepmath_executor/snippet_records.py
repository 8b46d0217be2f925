"""Records of every snippet: one line of the audit log, and the metrics."""

from dataclasses import dataclass

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.supervisor.snippet import Snippet
from deepmath_executor.audit import AuditLog
from deepmath_executor.caller import Caller
from deepmath_executor.metrics import ExecutorMetrics


@dataclass(frozen=True, slots=True)
class SnippetRecords:
    """Writes the audit line of each snippet and counts it in the metrics."""

    audit: AuditLog
    metrics: ExecutorMetrics

    def snippet_ran(
        self, caller: Caller, session: str, snippet: Snippet, result: pb.SnippetResult, sampled: bool
    ) -> None:
        """Record a snippet that ran, or whose client disconnected while it ran; `sampled` as in `AuditLog.record`."""
        self.audit.record(caller, session, snippet, result, sampled)
        self.metrics.snippet_ran(result)
