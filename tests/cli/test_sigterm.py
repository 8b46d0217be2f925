"""SIGTERM ends a command at any moment, with the services that it started, and nothing is left behind."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deepmath.exit_codes import EXIT_INTERRUPTED, EXIT_TERMINATED

COMMAND = (sys.executable, "-c", "from deepmath.cli.entry_point import main; main()")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for that of a socket, which has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sigterm-") as folder:
        yield Path(folder)


def content(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def until(condition: Callable[[], object], process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60):
        while not condition():
            if process.returncode is not None and process.stderr is not None:
                pytest.fail((await process.stderr.read()).decode())
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", [0.0, 0.3, 1.5, None])
async def test_sigterm_ends_a_command_and_its_services(tmp_path, short_folder: Path, moment: float | None) -> None:
    """`moment`: seconds after the command has begun to start its executor; None: when that serves."""
    temporary, snippet = short_folder, tmp_path / "snippet.py"
    snippet.write_text("import time; time.sleep(60)")
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "exec", str(snippet), env=os.environ | {"TMPDIR": str(temporary)}, stderr=asyncio.subprocess.PIPE
    )
    await until(lambda: content(temporary), process)
    if moment is None:
        await until(lambda: list(temporary.rglob("*.sock")), process)
    await asyncio.sleep(0.5 if moment is None else moment)
    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == EXIT_TERMINATED
    assert errors == b""
    assert not psutil.wait_procs(started, timeout=20)[1]
    assert not content(temporary)


_INTERRUPTED_IMPORT = """
import sys
class Finder:
    def find_spec(self, name, *_):
        if name == "deepmath.cli.main":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from deepmath.cli.entry_point import main
main()
"""


def test_ctrl_c_while_modules_are_imported_shows_no_traceback() -> None:
    ended = subprocess.run([sys.executable, "-c", _INTERRUPTED_IMPORT], capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (EXIT_INTERRUPTED, b"")
