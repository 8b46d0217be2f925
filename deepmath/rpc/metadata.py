"""Keys of gRPC metadata, and the check of names that end up in metadata and logs."""

from deepmath.errors import InvalidRequest

CLIENT_NAME = "deepmath-client"
"""Metadata key of the name that a client gives itself."""

IDLE_MS = "deepmath-idle-ms"
"""Key of the trailing metadata of GetInfo: milliseconds since the last call ended; 0 while one is in flight."""

_MAX_BYTES = 128


def check_name(name: str, field: str) -> None:
    """Check that `name`, the value of `field`, is fit for metadata and logs.

    Raises:
        InvalidRequest: It exceeds 128 bytes or is not printable ASCII.
    """
    if len(name) > _MAX_BYTES or not (name.isascii() and name.isprintable()):
        raise InvalidRequest(f"{field}: give at most {_MAX_BYTES} characters of printable ASCII")
