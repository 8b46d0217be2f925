"""`python -m deepmath.health ADDRESS`: exit status 0 where the service at ADDRESS says that it serves."""

import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deepmath.exits import EXIT_USAGE

_SECONDS = 4.0


def serves(address: str) -> bool:
    """Ask the service at `address` once, by grpc.health.v1."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types name no methods
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> int:
    """Run the command."""
    if len(sys.argv) != 2:
        print("usage: python -m deepmath.health ADDRESS", file=sys.stderr)
        return EXIT_USAGE
    return 0 if serves(sys.argv[1]) else 1


if __name__ == "__main__":
    sys.exit(main())
