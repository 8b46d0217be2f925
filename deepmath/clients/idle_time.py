"""Time since a service had something to do."""

from typing import Any

import grpc

from deepmath.clients.executor_client import ExecutorClient
from deepmath.clients.generator_client import GeneratorClient
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2
from deepmath.rpc.metadata import IDLE_MS

_DEADLINE_S = 5.0


async def idle_seconds(client: ExecutorClient | GeneratorClient) -> float:
    """Return the time since the last call of a service ended, in seconds; 0 while one is in flight.

    Health checks, reflection and GetInfo are no such calls.

    Raises:
        DeepMathError: The service did not answer.
    """
    call: grpc.aio.UnaryUnaryCall[Any, Any]
    if isinstance(client, ExecutorClient):
        call = client.stub.GetInfo(executor_pb2.GetInfoRequest(), timeout=_DEADLINE_S)
    else:
        call = client.stub.GetInfo(generator_pb2.GetInfoRequest(), timeout=_DEADLINE_S)
    try:
        await call
    except grpc.aio.AioRpcError as error:
        raise await client.translate(error) from None
    metadata = dict(await call.trailing_metadata())
    return int(metadata.get(IDLE_MS, 0)) / 1000
