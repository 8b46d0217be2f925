"""Recognition of gRPC errors by their English text, where the status code alone does not tell them apart."""

import grpc

_LOST_RESPONSE = "Internal error from Core"
_RESET = "Received RST_STREAM with error code"
_CONNECTION_FAILED = "last error: "
_SELF_EXPLANATORY = ("Connection refused", "No such file")


def is_lost_response(error: grpc.aio.AioRpcError) -> bool:
    """Whether grpc.aio overwrote the server's status because a write failed as the call ended.

    A server may respond to a client stream before its end. A write after that fails, and `set_internal_error` in
    `grpc/_cython/_cygrpc/aio/call.pyx.pxi` replaces the status already received:
    https://github.com/grpc/grpc/issues/36066.
    """
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _LOST_RESPONSE


def is_reset_stream(error: grpc.aio.AioRpcError) -> bool:
    """Whether the peer reset the call's HTTP/2 stream, instead of ending it with a status.

    A proxy does so when it loses the server of a call that has begun. The status is INTERNAL, which a server also sends
    for its own faults; the text is that of `src/core/ext/transport/chttp2/transport/frame_rst_stream.cc`.
    """
    return error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN) and _RESET in (error.details() or "")


def is_unexplained_connection_failure(error: grpc.aio.AioRpcError) -> bool:
    """Whether no connection was established for a reason that the error text does not give, such as a TLS mismatch.

    gRPC's load-balancing policies append the last subchannel's error as "last error: ..."
    (`src/core/load_balancing/round_robin/round_robin.cc` and `pick_first.cc`). A failed handshake shows there as a
    closed socket only; a refused connection and a missing socket file explain themselves.
    """
    details = error.details() or ""
    return (
        error.code() is grpc.StatusCode.UNAVAILABLE
        and _CONNECTION_FAILED in details
        and not any(text in details for text in _SELF_EXPLANATORY)
    )
