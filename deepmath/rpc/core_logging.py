"""Logging of gRPC's C core."""

import os


def silence_core_logging() -> None:
    """Silence gRPC's C core in this process and its children, unless the user has set `GRPC_VERBOSITY`.

    The core writes a line to stderr for every failed handshake; Python gets the same failures as errors. Entry points
    call this before the first channel or server. Importing `deepmath` does not: a library leaves its host process as
    it is.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
