"""The native backend: replacement of zygotes, limits on the memory of all sandboxes together."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.executor_process import run_module, running

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.isolation.cgroup import Cgroup
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.native_backend import NativeBackend
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.supervisor.snippet import Snippet

LIMITS = Limits(wall_ms=10_000, cpu_ms=10_000, memory_bytes=512 << 20, output_bytes=1 << 10)
TAKE = "x = bytearray(b'x' * ({} << 20))\nlen(x) >> 20"


async def run(sandbox: Sandbox, code: str, sequence: int = 1) -> pb.SnippetResult:
    return await sandbox.run(Snippet(sequence, code, LIMITS, 0))


def groups_of(supervisor: int) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(f"deepmath-executor-{supervisor}"))


@asynccontextmanager
async def native(cgroup: Cgroup, growth_bytes: int = 1 << 40) -> AsyncIterator[NativeBackend]:
    backend = NativeBackend("full", cgroup=cgroup, growth_bytes=growth_bytes)
    try:
        await backend.start()
        yield backend
    finally:
        await backend.close()


@pytest.fixture
def writable_cgroup():
    cgroup = Cgroup(1 << 30, 64)
    layer = cgroup.layer
    cgroup.close()
    if not layer["in_force"]:
        pytest.skip(f"no control group can be created here: {layer['detail']}")


async def test_grown_zygote_is_replaced_and_its_session_continues() -> None:
    async with native(Cgroup(1 << 30, 64), growth_bytes=0) as backend:
        sandbox = await backend.open()
        assert (await run(sandbox, "x = 7\nx")).value == "7"
        async with asyncio.timeout(30):
            while not backend.replacements:  # noqa: ASYNC110 - the backend checks at intervals
                await asyncio.sleep(0.1)
        assert (await run(sandbox, "x", 2)).value == "7"
        sandbox.close()


async def test_supervisor_kills_the_largest_sandbox_over_the_total_memory_without_a_cgroup() -> None:
    async with native(Cgroup(300 << 20, 64, enabled=False)) as backend:
        small, large = await backend.open(), await backend.open()
        assert (await run(small, TAKE.format(100))).value == "100"
        killed = await run(large, TAKE.format(250) + "\nimport random\nrandom._os.sys.modules['time'].sleep(9)")
        assert (killed.outcome, killed.state_lost) == (pb.OUTCOME_SANDBOX_FAILED, True)
        assert (await run(small, "len(x) >> 20", 2)).value == "100"
        small.close()
        large.close()


async def test_kernel_kills_a_sandbox_over_the_total_memory_with_a_cgroup(writable_cgroup) -> None:
    async with native(Cgroup(500 << 20, 64)) as backend:
        small, large = await backend.open(), await backend.open()
        assert (await run(small, "x = 1\nx")).value == "1"
        killed = await run(large, TAKE.format(450))
        assert (killed.outcome, killed.state_lost) == (pb.OUTCOME_SANDBOX_FAILED, True)
        assert (await run(small, "x", 2)).value == "1"
        small.close()
        large.close()


async def test_backend_removes_its_control_group_on_close(writable_cgroup) -> None:
    cgroup = Cgroup(1 << 30, 64)
    async with native(cgroup) as backend:
        sandbox = await backend.open()
        assert (await run(sandbox, "1")).value == "1"
        sandbox.close()
    assert groups_of(os.getpid()) == []


async def test_service_without_a_cgroup_has_level_full_and_reports_the_watchdog(tmp_path) -> None:
    ended = await run_module("--check", "--require", "full", "--no-cgroup")
    assert ended.status == 0
    assert '"name": "cgroup", "in_force": false, "detail": "memory and pids: not requested; the supervisor' in ended.out


async def test_orphaned_control_groups_are_removed_by_the_next_supervisor(writable_cgroup, tmp_path) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    async with running(folder, "--waiting-sandboxes", "1") as executor:
        killed = executor.pid
        assert groups_of(killed)
        executor.process.kill()
        await executor.process.wait()
    await asyncio.sleep(0.5)  # for the kernel to end its processes
    Cgroup(1 << 30, 64).close()
    assert groups_of(killed) == []


async def test_executor_without_preload_loads_no_library(tmp_path) -> None:
    async with running(tmp_path, "--preload=none", "--waiting-sandboxes=1") as executor:
        info = await executor.stub.GetInfo(pb.GetInfoRequest())
        assert info.versions.keys() == {"python"}
        result = await executor.execute("import random\n'numpy' in random._os.sys.modules")
        assert result.value == "False", result
