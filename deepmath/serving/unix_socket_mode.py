"""Permissions of the unix sockets that a service creates."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_access_for_others() -> Iterator[None]:
    """Let only owner and group connect to a unix socket that is created in the block, whatever the umask permits."""
    umask = os.umask(0o077)
    os.umask(umask | 0o007)
    try:
        yield
    finally:
        os.umask(umask)
