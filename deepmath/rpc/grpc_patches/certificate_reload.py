"""A delay that keeps gRPC from crashing when a server's certificate changes."""

import time

_HANDSHAKE_SETUP_SECONDS = 0.25


def wait_for_pending_handshakes() -> None:
    """Wait until connections that already fetched the current certificate hold a reference to it.

    gRPC's SSL security connector releases the old `server_handshaker_factory_` while another thread may be between
    fetching it and creating its handshaker from it: a use after free that ends the process,
    https://github.com/grpc/grpc/issues/36693 (`src/core/lib/security/security_connector/ssl`). The fetcher runs under
    the connector's lock, so that later connections wait for it, and earlier ones need microseconds.
    """
    time.sleep(_HANDSHAKE_SETUP_SECONDS)
