"""The client's name in gRPC metadata, and the check of names that end up in metadata and logs."""

from deepmath.errors import InvalidRequest

CLIENT_NAME = "deepmath-client"
"""Metadata key of the name that a client gives itself."""

_MAX_BYTES = 128


def check_name(name: str, field: str) -> None:
    """Check that `name`, the value of `field`, is fit for metadata and logs.

    Raises:
        InvalidRequest: It exceeds 128 bytes or is not printable ASCII.
    """
    if len(name) > _MAX_BYTES or not (name.isascii() and name.isprintable()):
        raise InvalidRequest(f"{field}: give at most {_MAX_BYTES} characters of printable ASCII")
