"""SandboxFusion from a checkout, for `benchmarks.sandbox_fusion`."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

PINS = Path(__file__).parent.parent / "constraints" / "vendors" / "sandbox_fusion_server.txt"
PROGRAM_PACKAGES = ("numpy", "sympy")  # of SandboxFusion's programs
_START_SECONDS = 300


@asynccontextmanager
async def sandbox_fusion_server(checkout: Path) -> AsyncIterator[str]:
    """Run SandboxFusion as its `make run` does, and yield its address.

    It asks conda for the environment of the programs. Here both environments are uv's, in a folder that looks like
    conda's to it.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        await asyncio.to_thread(_make_environments, root)
        (checkout / "docs" / "build").mkdir(parents=True, exist_ok=True)
        port = _free_port()
        command = ("-m", "uvicorn", "sandbox.server.server:app", "--host", "127.0.0.1", "--port", str(port))
        with (root / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                root / "envs/sandbox/bin/python", *command, cwd=checkout, stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await _is_serving(port):
                    assert process.returncode is None, (root / "log").read_text()
                    await asyncio.sleep(0.5)
            yield f"127.0.0.1:{port}"
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _make_environments(root: Path) -> None:
    (root / "condabin").mkdir()
    (root / "bin").mkdir()
    (root / "bin" / "activate").write_text(f'export PATH="{root}/envs/$1/bin:$PATH"\n')
    uv = str(Path(sys.executable).with_name("uv"))
    for name, packages in (("sandbox", ("--no-deps", "-r", str(PINS))), ("sandbox-runtime", PROGRAM_PACKAGES)):
        python = root / "envs" / name / "bin" / "python"
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(python.parent.parent)], check=True)
        install = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *packages]
        subprocess.run(install, check=True, env=os.environ | {"UV_LINK_MODE": "copy"})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _is_serving(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
