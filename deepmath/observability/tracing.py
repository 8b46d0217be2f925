"""OpenTelemetry spans, exported by OTLP if configured and dropped by the API's no-op tracer otherwise.

Spans hold counts, times, versions and outcomes, never text that a person or a model wrote: no question, no code, no
output, and of an error its type only. That rules out `opentelemetry-instrumentation-grpc` (0.66b2), which records
exceptions and status messages in its spans; its client interceptors also put a task and a queue between a stream and
its user.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from deepmath.errors import Unavailable

KEY = "traceparent"
"""Metadata key of a span's context, in the W3C form."""

AttributeValue = str | bool | int | float
Kind = Literal["internal", "client", "server"]

_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FLUSH_SECONDS = 3.0
_PROPAGATOR = TraceContextTextMapPropagator()

_tracer: trace.Tracer = trace.NoOpTracer()


class Span:
    """An OpenTelemetry span whose attributes are named `deepmath.*`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, **attributes: AttributeValue) -> None:
        """Set attributes."""
        self._span.set_attributes(_prefixed(attributes))


NO_SPAN = Span(trace.INVALID_SPAN)


@asynccontextmanager
async def export_spans(service: str, endpoint: str = "") -> AsyncIterator[None]:
    """Export spans to the OTLP collector at `endpoint` (http://HOST:PORT, gRPC) for the duration of the block.

    The default endpoint is OTEL_EXPORTER_OTLP_ENDPOINT; without either nothing is exported. Other OTEL_* variables are
    honoured. An unreachable collector is logged and delays nothing but the end of the block, by 3 seconds at most.

    Raises:
        Unavailable: The packages of the extra `tracing` are missing.
    """
    global _tracer  # noqa: PLW0603 - OpenTelemetry's own tracer provider is global too
    if not _is_export_configured(endpoint):
        yield
        return
    provider = _create_provider(service, endpoint)
    _tracer = provider.get_tracer("deepmath")
    try:
        yield
    finally:
        _tracer = trace.NoOpTracer()
        await asyncio.to_thread(_shut_down, provider)


def _is_export_configured(endpoint: str) -> bool:
    if endpoint:
        return True
    off = os.environ.get("OTEL_TRACES_EXPORTER") == "none" or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and any(os.environ.get(name) for name in _ENDPOINT_VARIABLES)


def _create_provider(service: str, endpoint: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise Unavailable(f"tracing needs the package {error.name}: install the extra `tracing`") from error
    name = os.environ.get("OTEL_SERVICE_NAME") or f"deepmath-{service}"
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint or None)))
    return provider


def _shut_down(provider: Any) -> None:
    # It flushes without a time limit: with a collector that does not answer it would retry for a long time.
    shutdown = threading.Thread(target=provider.shutdown, daemon=True)
    shutdown.start()
    shutdown.join(_FLUSH_SECONDS)


@contextmanager
def span(
    name: str, *, kind: Kind = "internal", parent: str = "", new_trace: bool = False, **attributes: AttributeValue
) -> Iterator[Span]:
    """Record the block as a child of the current span, or of `parent`, the `traceparent` of a remote one.

    With `new_trace` it is the root of a new trace, linked to the current span. For coroutines: the block has to begin
    and end in the same task.
    """
    started = _start_span(name, kind, parent, new_trace, attributes)
    with (
        _marking_failure(started),
        trace.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False),
    ):
        yield Span(started)


@contextmanager
def task_span(name: str, *, kind: Kind = "internal", parent: str = "", **attributes: AttributeValue) -> Iterator[Span]:
    """Record the block as a span that stays current for the rest of the task.

    For asynchronous generators, which may be closed in another task: the context variable is never reset.
    """
    started = _start_span(name, kind, parent, False, attributes)
    otel_context.attach(trace.set_span_in_context(started))
    with _marking_failure(started):
        try:
            yield Span(started)
        finally:
            started.end()


def _start_span(
    name: str, kind: Kind, parent: str, new_trace: bool, attributes: Mapping[str, AttributeValue]
) -> trace.Span:
    context: otel_context.Context | None = None
    links = []
    if new_trace:
        context = otel_context.Context()
        if (current := trace.get_current_span().get_span_context()).is_valid:
            links = [trace.Link(current)]
    elif parent:
        context = _PROPAGATOR.extract({KEY: parent})
    span_kind = trace.SpanKind[kind.upper()]
    return _tracer.start_span(name, context, span_kind, attributes=_prefixed(attributes), links=links)


@contextmanager
def _marking_failure(started: trace.Span) -> Iterator[None]:
    """Set the span's status if the block raises, to the error's type: its text may quote code."""
    try:
        yield
    except BaseException as error:
        started.set_status(trace.Status(trace.StatusCode.ERROR, type(error).__name__))
        raise


def _prefixed(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {f"deepmath.{name}": value for name, value in attributes.items()}


def traceparent() -> str:
    """Return the current span's context in the W3C form, whichever library started it; empty without a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(KEY, "")


def trace_id() -> str:
    """Return the current trace id in hexadecimal; empty without a span."""
    return traceparent().split("-")[1] if traceparent() else ""
