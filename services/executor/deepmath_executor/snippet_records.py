"""What is kept of every snippet: a line of the audit log and the counts of the metrics."""

from dataclasses import dataclass

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.limits import Limits
from deepmath_executor.audit import AuditLog
from deepmath_executor.caller import Caller
from deepmath_executor.metrics import ExecutorMetrics


@dataclass(frozen=True, slots=True)
class SnippetRecords:
    """Where the end of each snippet is told."""

    audit: AuditLog
    metrics: ExecutorMetrics

    def refused(self, caller: Caller, session: str, code: str, limits: Limits, result: pb.SnippetResult) -> None:
        """Keep a snippet that was refused before it ran."""
        self.audit.record(caller, session, code, limits, result)
        self.metrics.refused(result)

    def ran(self, caller: Caller, session: str, code: str, limits: Limits, result: pb.SnippetResult) -> None:
        """Keep a snippet that has run, or whose client went while it did."""
        self.audit.record(caller, session, code, limits, result)
        self.metrics.ran(result)
