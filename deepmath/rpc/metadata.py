"""Names that a client gives itself or its sessions."""

from deepmath.errors import InvalidRequest

CLIENT_NAME = "deepmath-client"
"""Key of the metadata that a client tells its name under."""

_MAX_BYTES = 128


def check_name(name: str, field: str) -> None:
    """Insist that `name`, the value of `field`, can be written into metadata and logs.

    Raises:
        InvalidRequest: it is over 128 bytes, or not printable ASCII.
    """
    if len(name) > _MAX_BYTES or not (name.isascii() and name.isprintable()):
        raise InvalidRequest(f"{field}: give at most {_MAX_BYTES} characters of printable ASCII")
