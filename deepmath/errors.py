"""Errors for the user, free of gRPC: `deepmath.rpc.status_mapping` says which status each one travels as.

A message states what is wrong and what to do about it. Any other exception is a bug: the server logs it with its
traceback and answers INTERNAL without one.
"""


class DeepMathError(Exception):
    """Base of all errors raised on purpose. `str(error)` addresses the person who has to act on it."""


class InvalidRequest(DeepMathError):
    """The request is malformed or exceeds a limit."""


class WrongOrder(DeepMathError):
    """The request is well formed but does not fit the current state."""


class Overloaded(DeepMathError):
    """No capacity at the moment; retry after `retry_after_ms` milliseconds."""

    def __init__(self, message: str, retry_after_ms: int = 1000) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Unavailable(DeepMathError):
    """A service is unreachable, is draining, or has lost a dependency."""


class TlsMismatch(Unavailable):
    """The TLS settings or certificates of a client and a service do not fit. Waiting does not help."""


class Unauthenticated(DeepMathError):
    """The caller presented no credentials, or unknown ones."""


class Forbidden(DeepMathError):
    """The caller is authenticated but not permitted."""


class ReplayDiverged(DeepMathError):
    """The replayed snippets of a session made different host calls than before; the session cannot continue."""


class NotServed(DeepMathError):
    """The contract has this call, but this version does not implement it."""
