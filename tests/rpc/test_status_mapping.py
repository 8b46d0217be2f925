"""Errors and the gRPC statuses that they travel as."""

import grpc
import pytest

from deepmath.clients.executor_stream import SandboxFailed
from deepmath.errors import DeepMathError, InvalidRequest, Overloaded, Unavailable
from deepmath.rpc.status_mapping import error_from_rpc, status_of


def rpc_error(code: grpc.StatusCode, details: str = "no capacity", pushback: str | None = None) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata(*([("grpc-retry-pushback-ms", pushback)] if pushback else []))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details)


def test_pushback_is_the_retry_delay() -> None:
    error = error_from_rpc(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback="250"), "it")
    assert isinstance(error, Overloaded)
    assert error.retry_after_ms == 250


@pytest.mark.parametrize("pushback", [None, "-1", "soon", "1e3"])
def test_invalid_pushback_means_no_retry(pushback) -> None:
    error = error_from_rpc(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback=pushback), "it")
    assert isinstance(error, InvalidRequest)


def test_response_lost_by_grpc_may_be_retried() -> None:
    lost = rpc_error(grpc.StatusCode.INTERNAL, "Internal error from Core")
    assert isinstance(error_from_rpc(lost, "it"), Unavailable)


def test_every_error_travels_as_a_status_of_its_own() -> None:
    kinds = [kind for kind in DeepMathError.__subclasses__() if kind.__module__ == DeepMathError.__module__]
    errors = [kind("x") for kind in kinds]
    statuses = {status_of(error) for error in errors}
    assert len(statuses) == len(errors) > 5
    assert grpc.StatusCode.INTERNAL not in statuses


def test_subclass_travels_as_its_base() -> None:
    assert status_of(SandboxFailed("x")) is grpc.StatusCode.UNAVAILABLE
    assert status_of(DeepMathError("x")) is grpc.StatusCode.INTERNAL
