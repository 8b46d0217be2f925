"""An OpenTelemetry collector on 127.0.0.1 that receives spans by OTLP over gRPC and keeps them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc


@dataclass(frozen=True)
class Span:
    """A received span with the service that sent it."""

    service: str
    sent: Any

    @property
    def name(self) -> str:
        return self.sent.name

    @property
    def trace(self) -> str:
        return self.sent.trace_id.hex()

    @property
    def id(self) -> str:
        return self.sent.span_id.hex()

    @property
    def parent(self) -> str:
        return self.sent.parent_span_id.hex()

    @property
    def links(self) -> list[str]:
        return [link.span_id.hex() for link in self.sent.links]

    @property
    def attributes(self) -> dict[str, Any]:
        values = {one.key.removeprefix("deepmath."): one.value for one in self.sent.attributes}
        return {key: getattr(value, value.WhichOneof("value")) for key, value in values.items()}


@dataclass
class Collector(rpc.TraceServiceServicer):
    """The received `spans`, and all messages as `raw` bytes."""

    spans: list[Span] = field(default_factory=list)
    raw: bytes = b""
    url: str = ""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:  # noqa: N802
        self.raw += request.SerializeToString()
        for resource in request.resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            sent = [span for scope in resource.scope_spans for span in scope.spans]
            self.spans += [Span(about["service.name"], span) for span in sent]
        self.arrived.set()
        return pb.ExportTraceServiceResponse()

    async def until(self, holds: Callable[[list[Span]], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds(self.spans):
                self.arrived.clear()
                await self.arrived.wait()

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    server = grpc.aio.server()
    rpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    collector.url = f"http://127.0.0.1:{port}"
    yield collector
    await server.stop(0)
