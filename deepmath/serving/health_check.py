"""`python -m deepmath.health ADDRESS`: exit status 0 where the service at ADDRESS says that it serves.

It asks without TLS, as `--health-listen` answers, whatever DEEPMATH_TLS says; with `--tls FOLDER` over TLS.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deepmath.access.tls import channel_credentials, read_tls_files
from deepmath.errors import DeepMathError
from deepmath.exit_codes import EXIT_FAILURE, EXIT_USAGE

_SECONDS = 4.0


def serves(address: str, tls: Path | None = None) -> bool:
    """Ask the service at `address` once, by grpc.health.v1, with the files in the folder `tls` where there is one.

    Raises:
        InvalidRequest: the files for TLS cannot be used.
    """
    secure = grpc.secure_channel(address, channel_credentials(read_tls_files(tls))) if tls else None
    with secure or grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types name no methods
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m deepmath.health", allow_abbrev=False)
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("--tls", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    try:
        return 0 if serves(asked.address, asked.tls) else EXIT_FAILURE
    except DeepMathError as error:
        print(f"deepmath.serving.health_check: {error}", file=sys.stderr)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
