"""A closed pool leaves no process behind, not even a zombie where process 1 reaps nobody, as in many containers."""

import subprocess
import sys

import pytest

# Inherits its orphaned descendants, like process 1 of a container, and never reaps them.
_PROGRAM = """
import asyncio, ctypes, sys
import psutil
from deepmath.sandbox import NOTHING, NativeBackend, SandboxPool

async def use_pool():
    async with SandboxPool(NativeBackend(sys.argv[1], NOTHING), waiting=2) as pool, pool.session() as session:
        await session.run("x = 1")
        if sys.argv[2] == "replaced":
            pool._backend._server.retire()
        assert (await pool.run("1 + 1")).value == "2"

PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
for _ in range(2):
    asyncio.run(use_pool())
print([process.status() for process in psutil.Process().children(recursive=True)])
"""


@pytest.mark.parametrize("level", ["pod", "full"])
@pytest.mark.parametrize("zygote", ["kept", "replaced"])
def test_closed_pool_leaves_no_zombie(level: str, zygote: str) -> None:
    command = [sys.executable, "-P", "-c", _PROGRAM, level, zygote]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout == "[]\n", ended.stderr
