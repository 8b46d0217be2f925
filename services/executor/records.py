"""What is kept of every snippet: a line of the audit log and the counts of the metrics."""

from dataclasses import dataclass

from deepmath.executor.v1 import executor_pb2 as pb
from services.executor.audit import Audit
from services.executor.caller import Caller
from services.executor.limits import Limits
from services.executor.metrics import ExecutorMetrics


@dataclass(frozen=True, slots=True)
class Records:
    """Where the end of each snippet is told."""

    audit: Audit
    metrics: ExecutorMetrics

    def refused(self, caller: Caller, session: str, code: str, limits: Limits, result: pb.SnippetResult) -> None:
        """Keep a snippet that was refused before it ran."""
        self.audit.record(caller, session, code, limits, result)
        self.metrics.refused(result)

    def ran(self, caller: Caller, session: str, code: str, limits: Limits, result: pb.SnippetResult) -> None:
        """Keep a snippet that has run, or whose client went while it did."""
        self.audit.record(caller, session, code, limits, result)
        self.metrics.ran(result)
