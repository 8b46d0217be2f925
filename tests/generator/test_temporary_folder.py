"""The generator's folder for temporary files: sockets of vLLM fit into it, or stay outside."""

import os
import socket
import tempfile
import uuid
from pathlib import Path

import pytest
from deepmath_generator.temporary_folder import private_temporary_folder

VARIABLES = ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR", "VLLM_RPC_BASE_PATH")


@pytest.mark.parametrize("size", [*range(30, 71, 5), 36, 37, 70])
def test_sockets_of_vllm_have_short_paths(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `get_open_zmq_ipc_path` of vllm/utils/network_utils.py names them, in temporary folders that it allows."""
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")  # so that it is restored
        monkeypatch.delenv(variable)
    with tempfile.TemporaryDirectory(dir="/tmp") as outer:
        before = Path(f"{outer}/{'x' * (size - len(outer) - 1)}")
        before.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(before))
        with private_temporary_folder(), socket.socket(socket.AF_UNIX) as server:
            path = f"{os.environ.get('VLLM_RPC_BASE_PATH', tempfile.gettempdir())}/{uuid.uuid4()}"
            server.bind(path)
            assert Path(path).parent in (before, Path(tempfile.gettempdir()))
            assert tempfile.gettempdir().startswith(f"{before}/deepmath-generator-")
        assert [entry.name for entry in before.iterdir()] == [Path(path).name] * (Path(path).parent == before)
        assert tempfile.gettempdir() == str(before)
