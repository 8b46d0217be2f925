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
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.native_backend import NativeBackend
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.supervisor.snippet import Snippet

LIMITS = Limits(wall_ms=10_000, cpu_ms=10_000, memory_bytes=512 << 20, output_bytes=1 << 10)
TOTAL = 1 << 30
SLEEP = "import random\nrandom._os.sys.modules['time'].sleep({})"
TAKE = "x = bytearray(b'x' * ({} << 20))\nlen(x) >> 20"


async def run(sandbox: Sandbox, code: str, sequence: int = 1) -> pb.SnippetResult:
    return await sandbox.run(Snippet(sequence, code, LIMITS, 0))


def groups_of(supervisor: int) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(f"deepmath-executor-{supervisor}"))


@asynccontextmanager
async def native(
    cgroup: Cgroup, growth_bytes: int = 1 << 40, memory: MemoryBudget | None = None
) -> AsyncIterator[NativeBackend]:
    backend = NativeBackend("full", cgroup=cgroup, growth_bytes=growth_bytes, memory=memory)
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


async def test_idle_sandboxes_share_what_running_snippets_leave_and_the_largest_is_evicted() -> None:
    memory = MemoryBudget(TOTAL, slots=1)  # 632 MiB are set aside
    async with native(Cgroup(TOTAL, 64, enabled=False), memory=memory) as backend:
        small, large, last = [await backend.open() for _ in range(3)]
        assert (await run(small, TAKE.format(100))).value == "100"
        assert (await run(large, TAKE.format(240))).value == "240"
        assert (await run(last, TAKE.format(100))).value == "100"
        lost = await run(large, "len(x)", 2)
        assert (lost.outcome, lost.state_lost) == (pb.OUTCOME_SANDBOX_FAILED, True)
        assert [(await run(one, "len(x) >> 20", 2)).value for one in (small, last)] == ["100", "100"]
        assert memory.evictions == 1
        for sandbox in (small, large, last):
            sandbox.close()


async def test_memory_that_an_idle_sandbox_could_touch_is_charged() -> None:
    memory = MemoryBudget(TOTAL, slots=1)
    async with native(Cgroup(TOTAL, 64, enabled=False), memory=memory) as backend:
        sandboxes = [await backend.open() for _ in range(3)]
        for sandbox in sandboxes:
            assert (await run(sandbox, "import numpy\nx = numpy.empty(20 << 20)\nx.nbytes >> 20")).value == "160"
        assert [sandbox.alive for sandbox in sandboxes] == [False, True, True]  # the one idle for longest
        for sandbox in sandboxes:
            sandbox.close()


async def test_snippet_over_the_default_limit_waits_for_its_memory() -> None:
    memory = MemoryBudget(2 << 30, slots=1)
    async with native(Cgroup(2 << 30, 64, enabled=False), memory=memory) as backend:
        first, second = await backend.open(), await backend.open()
        limits = Limits(memory_bytes=1 << 30)
        running = asyncio.create_task(first.run(Snippet(1, SLEEP.format(0.3), limits, 0)))
        await asyncio.sleep(0.05)
        waited = await second.run(Snippet(1, "1", limits, 0))
        assert running.done()
        assert waited.usage.queue_ms > 100
        assert waited.usage.wall_ms < 100
        first.close()
        second.close()


async def test_only_the_sandbox_over_the_total_memory_dies_if_less_memory_than_promised_is_there(
    writable_cgroup,
) -> None:
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
