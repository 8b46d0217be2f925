"""`python -m deepmath.health ADDRESS`: exit status 0 where the service at ADDRESS says that it serves.

DEEPMATH_TLS names the folder with the files for TLS where it speaks that.
"""

import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deepmath.access.tls import channel_credentials, read_tls_files
from deepmath.clients.credentials import tls_folder
from deepmath.errors import DeepMathError
from deepmath.exits import EXIT_FAILURE, EXIT_USAGE

_SECONDS = 4.0


def serves(address: str) -> bool:
    """Ask the service at `address` once, by grpc.health.v1.

    Raises:
        InvalidRequest: the files for TLS cannot be used.
    """
    folder = tls_folder(address)
    secure = grpc.secure_channel(address, channel_credentials(read_tls_files(folder))) if folder else None
    with secure or grpc.insecure_channel(address) as channel:
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
    try:
        return 0 if serves(sys.argv[1]) else EXIT_FAILURE
    except DeepMathError as error:
        print(f"deepmath.health: {error}", file=sys.stderr)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
