"""Logging of gRPC's C core."""

import os


def silence_core_logging() -> None:
    """Silence gRPC's C core in this process and its children, unless the user has set `GRPC_VERBOSITY`.

    It writes a line to stderr for every failed handshake; the same failures reach Python as errors. Call it in a program's
    entry point, before the first channel or server: a library leaves its user's process as it is.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
