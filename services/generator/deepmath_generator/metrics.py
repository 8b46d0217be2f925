"""What Prometheus is told: how trajectories end, what they cost, what they wait for, and which policy samples."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import TypeVar

from prometheus_client.core import Metric

from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.observability.busy_clock import BusyClock
from deepmath.observability.prometheus_metrics import UP_TO_AN_HOUR, UP_TO_MINUTES, PrometheusMetrics
from deepmath_generator.admission import TrajectoryAdmission
from deepmath_generator.policy_versions import PolicyVersions

Tokens = TypeVar("Tokens", list[int], str)

_CANCELLED = "cancelled"  # its client has left


class GeneratorMetrics(PrometheusMetrics):
    """Counts what happens to trajectories."""

    def __init__(self) -> None:
        super().__init__("generator")
        statuses = self.counter("trajectories", "Trajectories by how they ended.", ["status"])
        self._ended = {number: statuses.labels(_status(name)) for name, number in pb.Status.items()}
        outcomes = self.counter("snippets", "Snippets by how they ended.", ["outcome"])
        self._ran = {number: outcomes.labels(_outcome(name)) for name, number in executor.Outcome.items() if number}
        self._sampled = self.counter("sampled_tokens", "Tokens that the model sampled.")
        self._read = self.counter("tool_tokens", "Tokens of outputs of snippets that the model got to read.")
        self._failures = self.counter("executor_failures", "Snippets that no executor ran.")
        self._losses = self.counter("executor_losses", "Executors lost under a session, which went on on another.")
        self._queue = self.histogram("queue_seconds", "Time that a trajectory waited for a slot.", UP_TO_AN_HOUR)
        self._segment = self.histogram("segment_seconds", "Time of the engine for one segment.", UP_TO_AN_HOUR)
        self._first = self.histogram(
            "first_token_seconds", "Time to the first token of a segment whose tokens are streamed.", UP_TO_MINUTES
        )
        self._snippet = self.histogram(
            "snippet_seconds", "Time of a snippet as seen from here: queue, network and replays too.", UP_TO_MINUTES
        )
        self._busy = BusyClock()

    def ended(self, trajectory: pb.Trajectory) -> None:
        """A trajectory has ended."""
        self._ended[trajectory.status].inc()

    def cancelled(self) -> None:
        """The client of a trajectory has left."""
        self._ended[pb.STATUS_UNSPECIFIED].inc()

    def sampled(self, tokens: int) -> None:
        """The model has sampled so many tokens in a segment."""
        self._sampled.inc(tokens)

    def tool_output(self, tokens: int) -> None:
        """The model gets so many tokens of an output to read."""
        self._read.inc(tokens)

    def ran(self, result: executor.SnippetResult, losses: int) -> None:
        """A snippet has run, after `losses` executors were lost."""
        self._ran[result.outcome].inc()
        self._losses.inc(losses)

    def failed(self, losses: int) -> None:
        """No executor ran a snippet; `losses` were lost over it."""
        self._failures.inc()
        self._losses.inc(losses)

    @asynccontextmanager
    async def queueing(self, admission: TrajectoryAdmission) -> AsyncIterator[None]:
        """Hold a slot, and tell how long it was waited for."""
        start = monotonic()
        async with admission.slot():
            self._queue.observe(monotonic() - start)
            yield

    @contextmanager
    def segment(self) -> Iterator[None]:
        """The engine works on a segment."""
        with self._busy, self._segment.time():
            yield

    @contextmanager
    def snippet(self) -> Iterator[None]:
        """A snippet is with the executors."""
        with self._snippet.time():
            yield

    def on_first(self, on_tokens: Callable[[Tokens], None]) -> Callable[[Tokens], None]:
        """Return `on_tokens` so that the time until it is first called is told."""
        start, waiting = monotonic(), True

        def receive(token_ids: Tokens) -> None:
            nonlocal waiting
            if waiting:
                self._first.observe(monotonic() - start)
                waiting = False
            on_tokens(token_ids)

        return receive

    def watch_state(
        self, admission: TrajectoryAdmission, policies: PolicyVersions, executing: Callable[[], int]
    ) -> None:
        """Tell of the state of these too, as it is when somebody asks. Call it in the loop that they live in."""

        def now() -> Iterable[Metric]:
            yield self.gauge("live_trajectories", "Trajectories running.", admission.live)
            yield self.gauge("waiting_trajectories", "Trajectories waiting for a slot.", admission.waiting)
            yield self.gauge("maximum_trajectories", "Trajectories that may run at once.", admission.slots)
            yield self.gauge("running_snippets", "Snippets that are with the executors.", executing())
            current = policies.current.version
            yield self.gauge("policy_version", "Policy version that new segments are sampled from.", current)
            yield self.gauge("loaded_policies", "Policy versions loaded, the model's own too.", len(policies.versions))
            busy = "Time in which the engine had a segment to sample."
            yield self.count("engine_busy_seconds", busy, self._busy.seconds)

        self.on_scrape(now)


def _status(name: str) -> str:
    return name.removeprefix("STATUS_").lower().replace("unspecified", _CANCELLED)


def _outcome(name: str) -> str:
    return name.removeprefix("OUTCOME_").lower()
