"""The limit of open files of a service."""

import resource


def raise_descriptor_limit() -> None:
    """Raise the limit of open files to the maximum: the usual soft limit is 1024.

    A connection takes one file, a sandbox of the executor five.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
