"""Prometheus metrics of the generator: outcomes, tokens, latencies, queue and policy versions."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import TypeVar

from prometheus_client.core import Metric

from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.observability.busy_clock import BusyClock
from deepmath.observability.prometheus_metrics import UP_TO_AN_HOUR, UP_TO_MINUTES
from deepmath.observability.rpc_metrics import RpcMetrics
from deepmath_generator.admission import TrajectoryAdmission
from deepmath_generator.engine_statistics import EngineStatistics
from deepmath_generator.policy_versions import PolicyVersions

Tokens = TypeVar("Tokens", list[int], str)
Result = TypeVar("Result")

_CANCELLED = "cancelled"  # the client left before the trajectory ended


class GeneratorMetrics(RpcMetrics):
    """Metrics of trajectories, segments and snippets."""

    def __init__(self) -> None:
        super().__init__("generator")
        statuses = self.counter("trajectories", "Trajectories by status.", ["status"])
        self._trajectories = {number: statuses.labels(_status(name)) for name, number in pb.Status.items()}
        outcomes = self.counter("snippets", "Snippets by outcome.", ["outcome"])
        self._snippets = {value: outcomes.labels(_outcome(name)) for name, value in executor.Outcome.items() if value}
        self._sampled_tokens = self.counter("sampled_tokens", "Tokens sampled from the model.")
        self._tool_tokens = self.counter("tool_tokens", "Tokens of tool output in the model's context.")
        self._failures = self.counter("executor_failures", "Snippets that no executor ran.")
        self._losses = self.counter("executor_losses", "Executors lost during a session that moved to another one.")
        self._queue = self.histogram("queue_seconds", "Time a trajectory waited for a slot.", UP_TO_AN_HOUR)
        self._segment = self.histogram("segment_seconds", "Engine time of one segment.", UP_TO_AN_HOUR)
        self._first_token = self.histogram(
            "first_token_seconds", "Time to the first token of a streamed segment.", UP_TO_MINUTES
        )
        self._snippet = self.histogram(
            "snippet_seconds", "Latency of a snippet, including queue, network and replays.", UP_TO_MINUTES
        )
        self._busy = BusyClock()

    def record_trajectory(self, trajectory: pb.Trajectory) -> None:
        """Count a trajectory that has ended, by its status."""
        self._trajectories[trajectory.status].inc()

    def record_cancellation(self) -> None:
        """Count a trajectory that was cancelled because its client left."""
        self._trajectories[pb.STATUS_UNSPECIFIED].inc()

    def record_sampled_tokens(self, tokens: int) -> None:
        """Count the tokens of a model segment."""
        self._sampled_tokens.inc(tokens)

    def record_tool_tokens(self, tokens: int) -> None:
        """Count the tokens of a tool segment."""
        self._tool_tokens.inc(tokens)

    def record_snippet(self, result: executor.SnippetResult, losses: int) -> None:
        """Count a snippet by its outcome, and the executors lost before it ran."""
        self._snippets[result.outcome].inc()
        self._losses.inc(losses)

    def record_executor_failure(self, losses: int) -> None:
        """Count a snippet that no executor ran, and the executors lost with it."""
        self._failures.inc()
        self._losses.inc(losses)

    @asynccontextmanager
    async def slot(self, admission: TrajectoryAdmission) -> AsyncIterator[None]:
        """Hold a slot for the block, and record the time spent waiting for it."""
        start = monotonic()
        async with admission.slot():
            self._queue.observe(monotonic() - start)
            yield

    @contextmanager
    def segment_time(self) -> Iterator[None]:
        """Record the block as the engine's time for one segment."""
        with self._busy, self._segment.time():
            yield

    @contextmanager
    def snippet_time(self) -> Iterator[None]:
        """Record the block as the latency of one snippet."""
        with self._snippet.time():
            yield

    def first_token_time(self, on_tokens: Callable[[Tokens], Result]) -> Callable[[Tokens], Result]:
        """Return a wrapper of `on_tokens` that records the time until its first call."""
        start, waiting = monotonic(), True

        def receive(tokens: Tokens) -> Result:
            nonlocal waiting
            if waiting:
                self._first_token.observe(monotonic() - start)
                waiting = False
            return on_tokens(tokens)

        return receive

    def expose_state(
        self, admission: TrajectoryAdmission, policies: PolicyVersions, executing: Callable[[], int]
    ) -> None:
        """Expose the state of these objects at each scrape. Call it in the event loop that they belong to."""

        def read() -> Iterable[Metric]:
            yield self.gauge("live_trajectories", "Running trajectories.", admission.live)
            yield self.gauge("waiting_trajectories", "Queued trajectories.", admission.waiting)
            yield self.gauge("maximum_trajectories", "Maximum number of running trajectories.", admission.slots)
            yield self.gauge("running_snippets", "Snippets queued or running at the executors.", executing())
            current, loaded = policies.current.version, len(policies.versions)
            yield self.gauge("policy_version", "Policy version that samples new segments.", current)
            yield self.gauge("loaded_policies", "Loaded policy versions, the base model's included.", loaded)
            busy = "Time during which the engine had segments to sample."
            yield self.count("engine_busy_seconds", busy, self._busy.seconds)

        self.on_scrape(read)

    def expose_engine(self, engine: EngineStatistics) -> None:
        """Expose the engine's statistics at each scrape. Call it in the event loop that the engine belongs to."""

        def read() -> Iterable[Metric]:
            yield self.gauge("engine_running_requests", "Requests in the engine's batch.", engine.running)
            waiting = "Requests waiting for a place in the engine's batch, or for its cache."
            yield self.gauge("engine_waiting_requests", waiting, engine.waiting)
            yield self.gauge("kv_cache_usage_ratio", "Share of the KV cache in use.", engine.cache_usage)
            preempted = "Requests that lost their part of the KV cache and were computed again."
            yield self.count("preemptions", preempted, engine.preemptions)
            queried = "Prompt tokens looked up in the prefix cache."
            yield self.count("prefix_cache_queried_tokens", queried, engine.queried_tokens)
            yield self.count("prefix_cache_hit_tokens", "Prompt tokens found in the prefix cache.", engine.hit_tokens)

        self.on_scrape(read)


def _status(name: str) -> str:
    return name.removeprefix("STATUS_").lower().replace("unspecified", _CANCELLED)


def _outcome(name: str) -> str:
    return name.removeprefix("OUTCOME_").lower()
