"""Python interface: solve problems and run code on given services, the detached stack, or one started here."""

from deepmath.sdk.async_connection import AsyncCodeSession, AsyncConnection
from deepmath.sdk.connection import CodeSession, Connection
from deepmath.sdk.results import CodeError, CodeResult, SampledAnswer, Solution

__all__ = [
    "AsyncCodeSession",
    "AsyncConnection",
    "CodeError",
    "CodeResult",
    "CodeSession",
    "Connection",
    "SampledAnswer",
    "Solution",
    "connect",
    "connect_async",
]

connect = Connection
connect_async = AsyncConnection
