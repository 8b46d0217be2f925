"""Canaries: the behaviour of the installed grpcio that `deepmath.rpc.grpc_patches` relies on."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from support.health import health_stub
from support.http2_client import ACK, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame

from deepmath.errors import Unavailable
from deepmath.rpc.grpc_patches.ended_stream import ENDED_STREAM_ERRORS
from deepmath.rpc.grpc_patches.error_texts import (
    is_lost_response,
    is_reset_stream,
    is_unexplained_connection_failure,
)
from deepmath.rpc.status_mapping import error_from_rpc

_ROUND_ROBIN = [("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')]


async def connection_error(target: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.AioRpcError:
    channel = (
        grpc.aio.secure_channel(target, credentials, options=_ROUND_ROBIN)
        if credentials
        else grpc.aio.insecure_channel(target, options=_ROUND_ROBIN)
    )
    async with channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await health_stub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
    return failed.value


@pytest.fixture
async def plaintext_address() -> AsyncIterator[str]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def test_failed_handshake_is_recognised(plaintext_address) -> None:
    error = await connection_error(plaintext_address, grpc.ssl_channel_credentials())
    assert is_unexplained_connection_failure(error), error.details()


async def test_connection_closed_by_the_server_is_recognised() -> None:
    """As a TLS server does with a plaintext client."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        error = await connection_error(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert is_unexplained_connection_failure(error), error.details()


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("unix:/nonexistent/socket", "No such file"),
        ("dns://127.0.0.1:1/nowhere.invalid:1", "resolving nowhere.invalid"),
    ],
)
async def test_failure_that_explains_itself_is_not_diagnosed(target, text) -> None:
    error = await connection_error(target)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert text in (error.details() or "")
    assert not is_unexplained_connection_failure(error)


async def test_lost_response_has_the_text_that_grpc_gives_it(plaintext_address) -> None:
    """https://github.com/grpc/grpc/issues/36066: what grpc.aio does when a write fails as the call ends."""
    async with grpc.aio.insecure_channel(plaintext_address) as channel:
        call: Any = channel.stream_stream("/x/y")()
        call._cython_call.set_internal_error("a failed write")
        error = grpc.aio.AioRpcError(
            await call.code(), grpc.aio.Metadata(), grpc.aio.Metadata(), details=await call.details()
        )
    assert is_lost_response(error), error.details()
    assert "was lost" in str(error_from_rpc(error, "the server"))


async def test_stream_reset_by_a_proxy_is_recognised() -> None:
    """Envoy and HAProxy reset a stream with INTERNAL_ERROR (2) or CANCEL (8) when its server is gone."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PREFACE))
        writer.write(frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
        while head := await reader.read(9):
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == HEADERS:
                writer.write(frame(RST_STREAM, 0, int.from_bytes(head[5:9], "big"), (2).to_bytes(4, "big")))
        writer.close()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    async with server:
        error = await connection_error(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert is_reset_stream(error), error.details()
    assert isinstance(error_from_rpc(error, "the server"), Unavailable)


async def test_write_to_an_ended_stream_raises_a_known_error(plaintext_address) -> None:
    async with grpc.aio.insecure_channel(plaintext_address) as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream("/x/y")()
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(asyncio.InvalidStateError) as ended:
            await call.write(b"")
    assert isinstance(ended.value, ENDED_STREAM_ERRORS)


async def test_certificate_fetcher_is_called_for_one_connection_at_a_time() -> None:
    """On this rests the delay of `wait_for_pending_handshakes`: later connections wait until the fetcher returns."""
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1")
    configuration = grpc.ssl_server_certificate_configuration(
        [(leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())]
    )
    active, calls, most_active = 0, 0, 0

    def fetch() -> None:
        nonlocal active, calls, most_active
        active, calls = active + 1, calls + 1
        most_active = max(active, most_active)
        time.sleep(0.1)
        active -= 1

    fetcher = cast(Callable[[], grpc.ServerCertificateConfiguration], fetch)  # the stub does not allow None
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.dynamic_ssl_server_credentials(configuration, fetcher))
    await server.start()
    context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
    context.set_alpn_protocols(["h2"])
    connections = [asyncio.open_connection("127.0.0.1", port, ssl=context) for _ in range(4)]
    for _, writer in await asyncio.gather(*connections):
        writer.close()
    await server.stop(0)
    assert (calls, most_active) == (4, 1)
