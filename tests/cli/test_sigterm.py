"""SIGTERM ends a command at any moment, with the services that it started, and nothing is left behind."""

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from deepmath.exit_codes import EXIT_TERMINATED

COMMAND = (sys.executable, "-c", "from deepmath.cli.entry_point import main; main()")


def content(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def until_started(temporary: Path, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60):
        while not content(temporary):
            assert process.returncode is None
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", [0.0, 0.3, 3.0])
async def test_sigterm_ends_a_command_and_its_services(tmp_path, moment: float) -> None:
    """`moment`: seconds after the command has begun to start its executor."""
    temporary, snippet = tmp_path / "tmp", tmp_path / "snippet.py"
    temporary.mkdir()
    snippet.write_text("import time; time.sleep(60)")
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "exec", str(snippet), env=os.environ | {"TMPDIR": str(temporary)}, stderr=asyncio.subprocess.PIPE
    )
    await until_started(temporary, process)
    await asyncio.sleep(moment)
    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == EXIT_TERMINATED
    assert errors == b""
    assert not psutil.wait_procs(started, timeout=20)[1]
    assert not content(temporary)
