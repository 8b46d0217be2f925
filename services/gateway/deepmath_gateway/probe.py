"""`python -m deepmath_gateway.probe HOST:PORT` exits with status 0 if the gateway there is ready. For containers."""

import http.client
import sys
from http import HTTPStatus

from deepmath.exit_codes import EXIT_FAILURE

_TIMEOUT_S = 4.0


def is_ready(address: str) -> bool:
    """Return the readiness of the gateway whose plaintext endpoint for health checks is at `address`."""
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_ready(sys.argv[1]) else EXIT_FAILURE)
