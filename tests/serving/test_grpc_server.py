"""The gRPC server's socket file."""

import os
import stat

import pytest

from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.grpc_server import GrpcServer


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o770), (0o022, 0o750), (0o077, 0o700)])
async def test_others_cannot_connect_to_a_socket_file_whatever_the_umask(tmp_path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        server = await GrpcServer.start(GrpcServiceConfig(listen=f"unix:{tmp_path}/socket"), {})
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == mode
        assert os.umask(umask) == umask
        await server.stop(0)
    finally:
        os.umask(before)
