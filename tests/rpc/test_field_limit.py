"""Messages of very many fields are rejected before protobuf parses them."""

from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.rpc.field_limit import count_fields
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.grpc_server import GrpcServer

MOST = 100


def varint(number: int) -> bytes:
    parts = b""
    while number > 0x7F:
        parts += bytes([number & 0x7F | 0x80])
        number >>= 7
    return parts + bytes([number])


def field(message: Any, name: str, content: bytes) -> bytes:
    return varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2) + varint(len(content)) + content


FUNCTION = field(pb.HostFunctions, "functions", b"")
BOMBS = {
    "functions": field(pb.SessionRequest, "run", field(pb.RunSnippet, "host", FUNCTION * (1 << 20))),
    "parameters": field(
        pb.SessionRequest,
        "run",
        field(
            pb.RunSnippet,
            "host",
            field(pb.HostFunctions, "functions", field(pb.HostFunction, "parameters", b"") * (1 << 20)),
        ),
    ),
    "unknown": bytes([15 << 3, 0]) * (1 << 20),
    "unknown_bytes": varint(1000 << 3 | 2) + b"\0" + (varint(1000 << 3 | 2) + b"\0") * (1 << 19),
    "repeated": field(pb.SessionRequest, "open", b"") * (1 << 20),
    "nested_repeated": field(pb.SessionRequest, "run", bytes([1 << 3, 1]) * (1 << 20)),
    "groups": bytes([15 << 3 | 3, 15 << 3 | 4]) * (1 << 20),
}

snippets = st.builds(
    pb.RunSnippet,
    sequence=st.integers(0, 2**64 - 1),
    code=st.text(max_size=20),
    host=st.builds(
        pb.HostFunctions,
        functions=st.lists(
            st.builds(pb.HostFunction, name=st.text(max_size=5), parameters=st.lists(st.text(max_size=3), max_size=5)),
            max_size=5,
        ),
    ),
)


def fields_of(message: Any) -> int:
    count = 0
    for descriptor, value in message.ListFields():
        values = value if descriptor.is_repeated else [value]
        count += len(values) + sum(fields_of(part) for part in values if descriptor.message_type is not None)
    return count


@given(snippets)
def test_fields_of_all_levels_are_counted(snippet: pb.RunSnippet) -> None:
    message = pb.SessionRequest(run=snippet)
    assert count_fields(message.SerializeToString(), pb.SessionRequest.DESCRIPTOR, 1000) == fields_of(message)


@given(st.binary(max_size=300))
def test_any_bytes_are_counted_and_protobuf_finds_no_more(data: bytes) -> None:
    counted = count_fields(data, pb.SessionRequest.DESCRIPTOR, 1000)
    try:
        message = pb.SessionRequest.FromString(data)
    except DecodeError:
        return
    assert fields_of(message) <= counted


@pytest.mark.parametrize("name", BOMBS)
def test_counting_ends_at_the_limit(name: str) -> None:
    assert count_fields(BOMBS[name], pb.SessionRequest.DESCRIPTOR, MOST) == MOST + 1


class Echo(rpc.ExecutorServiceServicer):
    """Reads one message of a stream, or a request."""

    async def Session(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        await context.read()

    async def Execute(self, request: Any, context: Any) -> pb.ExecuteResponse:  # noqa: N802
        return pb.ExecuteResponse(result=pb.SnippetResult(value=request.code))


@pytest.mark.parametrize("name", BOMBS)
async def test_message_of_many_fields_is_rejected_by_stream_and_unary_calls(name: str) -> None:
    config = GrpcServiceConfig(max_message_fields=MOST)
    service = pb.DESCRIPTOR.services_by_name["ExecutorService"].full_name
    server = await GrpcServer.start(
        config,
        {service: lambda server: rpc.add_ExecutorServiceServicer_to_server(Echo(), server)},  # type: ignore[abstract]
    )
    async with grpc.aio.insecure_channel(server.address) as channel:
        raw: Any = channel  # without serializers
        for call in (
            raw.stream_stream(f"/{service}/Session")(iter([BOMBS[name]])).read(),
            raw.unary_unary(f"/{service}/Execute")(bytes([15 << 3, 0]) * (1 << 20)),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=f"has more than {MOST} fields") as rejected:
                await call
            assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        response = await rpc.ExecutorServiceStub(channel).Execute(pb.ExecuteRequest(code="x" * (1 << 20)))
        assert len(response.result.value) == 1 << 20
    await server.stop(0)
