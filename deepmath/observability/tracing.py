"""Traces by OpenTelemetry, where they are asked for. Where they are not, nothing of it is imported.

A span has counts, times, versions and outcomes. It never has what a person or a model wrote: no question, no code, no
output, and of an error its type only.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from deepmath.errors import Unavailable

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

KEY = "traceparent"
"""Key of the metadata that a span travels under, as W3C has it."""

Value = str | bool | int | float
Kind = Literal["internal", "client", "server"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LAST_SECONDS = 3.0

_tracer: "Tracer | None" = None


class Span(Protocol):
    """What happens during a block, with `attributes`."""

    def set(self, **attributes: Value) -> None:
        """Add attributes."""


class _Nothing:
    def set(self, **attributes: Value) -> None:
        pass


class _Recorded:
    def __init__(self, span: "OtelSpan") -> None:
        self._span = span

    def set(self, **attributes: Value) -> None:
        self._span.set_attributes(_named(attributes))


NOTHING: Span = _Nothing()


@asynccontextmanager
async def exporting(service: str, endpoint: str = "") -> AsyncIterator[None]:
    """Send spans to the OTLP collector at `endpoint` (http://HOST:PORT, by gRPC) for as long as the block lasts.

    Without an `endpoint` to the one that OTEL_EXPORTER_OTLP_ENDPOINT names, and nowhere where that says nothing either.
    Other OTEL_* variables are honoured. A collector that is not there is told in the log and costs nothing else.

    Raises:
        Unavailable: the packages of the extra `tracing` are missing.
    """
    global _tracer  # noqa: PLW0603 - OpenTelemetry's own tracer provider is one of the process too
    if not _asked_for(endpoint):
        yield
        return
    provider = _provider(service, endpoint)
    _tracer = provider.get_tracer("deepmath")
    try:
        yield
    finally:
        _tracer = None
        await asyncio.to_thread(_end, provider)


def _asked_for(endpoint: str) -> bool:
    if endpoint:
        return True
    off = os.environ.get("OTEL_TRACES_EXPORTER") == "none" or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and any(os.environ.get(name) for name in _ENDPOINTS)


def _provider(service: str, endpoint: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise Unavailable(
            f"traces need a package that is not installed ({error.name}): pip install 'deepmath-services[tracing]'"
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME") or f"deepmath-{service}"
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint or None)))
    return provider


def _end(provider: Any) -> None:
    # It sends what it has first, and knows no limit: with a collector that does not answer it would try for long.
    ending = threading.Thread(target=provider.shutdown, daemon=True)
    ending.start()
    ending.join(_LAST_SECONDS)


@contextmanager
def span(
    name: str, *, kind: Kind = "internal", parent: str = "", apart: bool = False, **attributes: Value
) -> Iterator[Span]:
    """Record what the block does as a span below the one around it, or below `parent`, a `traceparent` of another.

    `apart` begins a trace of its own, with a link to the span around it. For coroutines: the block has to begin and end
    in the same task.
    """
    if _tracer is None:
        yield NOTHING
        return
    from opentelemetry import trace

    begun = _begin(_tracer, name, kind, parent, apart, attributes)
    with (
        _marking(begun),
        trace.use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False),
    ):
        yield _Recorded(begun)


@contextmanager
def task_span(name: str, *, kind: Kind = "internal", parent: str = "", **attributes: Value) -> Iterator[Span]:
    """Record the rest of this task as a span. An asynchronous generator may end in another task: it ends with that."""
    if _tracer is None:
        yield NOTHING
        return
    from opentelemetry import context, trace

    begun = _begin(_tracer, name, kind, parent, False, attributes)
    context.attach(trace.set_span_in_context(begun))
    with _marking(begun):
        try:
            yield _Recorded(begun)
        finally:
            begun.end()


def _begin(
    tracer: "Tracer", name: str, kind: Kind, parent: str, apart: bool, attributes: Mapping[str, Value]
) -> "OtelSpan":
    from opentelemetry import context, trace

    around: Context | None = None
    links = []
    if apart:
        around = context.Context()
        if (now := trace.get_current_span().get_span_context()).is_valid:
            links = [trace.Link(now)]
    elif parent:
        around = _propagator().extract({KEY: parent})
    return tracer.start_span(
        name, around, getattr(trace.SpanKind, kind.upper()), attributes=_named(attributes), links=links
    )


@contextmanager
def _marking(begun: "OtelSpan") -> Iterator[None]:
    """Mark the span as failed where the block raises, by the error's type: its text may quote code."""
    from opentelemetry.trace import Status, StatusCode

    try:
        yield
    except BaseException as error:
        begun.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {f"deepmath.{name}": value for name, value in attributes.items()}


def traceparent() -> str:
    """Return the span around this as W3C has it, also where another library began it; empty where there is none."""
    if "opentelemetry.trace" not in sys.modules:
        return ""
    carrier: dict[str, str] = {}
    _propagator().inject(carrier)
    return carrier.get(KEY, "")


def trace_id() -> str:
    """Return the id of the trace around this, in hexadecimal; empty where there is none."""
    return traceparent().split("-")[1] if traceparent() else ""


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()
