"""`python -m deepmath.serving.health_check ADDRESS` exits with status 0 if the service at ADDRESS reports SERVING.

It connects without TLS whatever DEEPMATH_TLS says, for a service's `--health-listen`; `--tls FOLDER` uses TLS.
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
from deepmath.printable_text import print_error

_PROGRAM = "python -m deepmath.serving.health_check"
_TIMEOUT_SECONDS = 4.0


def is_serving(address: str, tls: Path | None = None) -> bool:
    """Send one grpc.health.v1 check to `address`, over TLS with the files in the folder `tls` if given.

    Raises:
        InvalidRequest: The TLS files are unusable.
    """
    secure = grpc.secure_channel(address, channel_credentials(read_tls_files(tls))) if tls else None
    with secure or grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types name no methods
        try:
            response = stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(_PROGRAM, allow_abbrev=False)
    parser.add_argument("address", metavar="ADDRESS", help="HOST:PORT or unix:PATH of the service.")
    parser.add_argument("--tls", type=Path, metavar="FOLDER", help="Folder with tls.crt, tls.key and ca.crt.")
    arguments = parser.parse_args()
    try:
        return 0 if is_serving(arguments.address, arguments.tls) else EXIT_FAILURE
    except DeepMathError as error:
        print_error(_PROGRAM, error)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
