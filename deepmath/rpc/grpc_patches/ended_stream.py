"""The exceptions that grpc.aio raises for I/O on a stream that has ended."""

import asyncio

import grpc

ENDED_STREAM_ERRORS = (grpc.aio.AioRpcError, asyncio.InvalidStateError)
"""`StreamStreamCall.write` documents RpcError alone, but raises InvalidStateError for a call that is already done
(`_StreamRequestMixin._write` in `grpc/aio/_call.py`)."""
