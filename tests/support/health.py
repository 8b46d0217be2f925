"""Stubs of the gRPC health service."""

from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc


def health_stub(channel: grpc.Channel | grpc.aio.Channel) -> Any:
    """Return a stub of the health service; the types of grpcio-health-checking name none of its methods."""
    return health_pb2_grpc.HealthStub(channel)
