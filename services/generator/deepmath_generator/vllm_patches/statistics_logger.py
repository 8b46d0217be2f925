"""Statistics of vLLM's scheduler, without the costs of vLLM's own metrics.

vLLM adds its own `PrometheusStatLogger`, some forty histograms in the process's global registry, unless a logger of
that class is given (vllm/v1/metrics/loggers.py, `StatLoggerManager`). This one has its class and nothing else of it.
"""

from typing import Any

from vllm.v1.metrics.loggers import PrometheusStatLogger

from deepmath_generator.engine_statistics import EngineStatistics


class StatisticsLogger(PrometheusStatLogger):  # type: ignore[misc]  # vLLM has no types
    """Keeps the statistics of each step, at 2 µs for each request in it. vLLM creates it."""

    def __init__(self, vllm_config: Any, engine_indexes: list[int] | None = None) -> None:  # noqa: ARG002 - vLLM's
        self.statistics = EngineStatistics()

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,  # noqa: ARG002 - vLLM's
        engine_idx: int = 0,  # noqa: ARG002 - vLLM's
    ) -> None:
        """Add the statistics of a step."""
        statistics = self.statistics
        if scheduler_stats is not None:
            statistics.running = scheduler_stats.num_running_reqs
            statistics.waiting = scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs
            statistics.cache_usage = scheduler_stats.kv_cache_usage
            statistics.queried_tokens += scheduler_stats.prefix_cache_stats.queries
            statistics.hit_tokens += scheduler_stats.prefix_cache_stats.hits
        if iteration_stats is not None:
            statistics.preemptions += iteration_stats.num_preempted_reqs

    def log_engine_initialized(self) -> None:
        """Do nothing."""

    def record_sleep_state(self, sleep: int = 0, level: int = 0) -> None:
        """Do nothing."""

    def record_admission_rejection(self, reason: str) -> None:
        """Do nothing."""


def statistics_of(llm: Any) -> EngineStatistics:
    """Return the statistics of an engine that was started with this logger."""
    (logger,) = (logger for logger in llm.logger_manager.stat_loggers if isinstance(logger, StatisticsLogger))
    return logger.statistics
