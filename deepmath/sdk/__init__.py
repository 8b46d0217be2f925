"""Python interface: solve problems and run code on given services, the detached stack, or one started here."""

from deepmath.sdk.async_connection import AsyncConnection, AsyncSandbox
from deepmath.sdk.connection import Connection, Sandbox
from deepmath.sdk.results import CodeError, CodeResult, SampledAnswer, Solution

__all__ = [
    "AsyncConnection",
    "AsyncSandbox",
    "CodeError",
    "CodeResult",
    "Connection",
    "SampledAnswer",
    "Sandbox",
    "Solution",
    "connect",
    "connect_async",
]

connect = Connection
connect_async = AsyncConnection
