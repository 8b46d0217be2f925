"""The fork server: adoption of a zygote that connects to a socket, as in a container."""

import asyncio
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deepmath.sandbox import NOTHING, Limits
from deepmath.sandbox.supervisor.fork_server import ForkServer
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.supervisor.snippet import Snippet
from deepmath.sandbox.zygote_protocol import ZYGOTE_MODULE, ZygoteSettings

# As in a container, the launcher's parent lies outside its pid namespace.
IN_A_PID_NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


def namespaces_are_available() -> bool:
    command = [*IN_A_PID_NAMESPACE, "true"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


async def test_zygote_that_connects_is_adopted_and_exits_with_its_only_sandbox(tmp_path: Path) -> None:
    if not namespaces_are_available():
        pytest.skip("needs unshare(1) and user namespaces")
    loop = asyncio.get_running_loop()
    settings = ZygoteSettings(NOTHING, ("math",))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        listener.setblocking(False)
        arguments = ["--connect", str(tmp_path / "socket"), settings.to_argument()]
        command = [*IN_A_PID_NAMESPACE, sys.executable, "-P", "-m", ZYGOTE_MODULE, *arguments]
        process = await asyncio.create_subprocess_exec(*command, cwd="/")
        connections = []
        async with asyncio.timeout(30):
            for _ in range(2):
                connection, _ = await loop.sock_accept(listener)
                connections.append(connection)
    report, control = connections
    server = await ForkServer.adopt(report, control, lambda: None)
    sandbox = await Sandbox.open(server, 0.05, MemoryBudget())
    result = await sandbox.run(Snippet(1, "import math\nmath.gcd(12, 18)", Limits()))
    assert result.value == "6", result
    sandbox.close()
    async with asyncio.timeout(30):
        await process.wait()
