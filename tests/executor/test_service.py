"""The service around the sandboxes: process lifecycle, load, audit and command line."""

import asyncio
import hashlib
import json
import os
import resource
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2
from support.executor_process import SMALL_SESSIONS, descendants, kill, run_module, running
from support.health import health_stub

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.allowed_modules import ALLOWED_MODULES


async def test_session_over_the_maximum_is_refused_with_a_retry_delay(small_executor):
    async with AsyncExitStack() as stack:
        for _ in range(SMALL_SESSIONS):
            await stack.enter_async_context(small_executor.session())
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await small_executor.execute("1")
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(failure.value.trailing_metadata())["grpc-retry-pushback-ms"]) > 0


async def test_stream_that_never_opens_its_session_is_closed(tmp_path):
    async with running(tmp_path, "--waiting-sandboxes", "1", "--open-seconds", "0.2") as executor:
        assert await executor.stub.Session().code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_closed_session_frees_its_place(small_executor):
    for _ in range(SMALL_SESSIONS + 1):
        async with small_executor.session() as session:
            await session.run("1")
        await small_executor.until(lambda load: load.live_sessions == 0)


async def test_sessions_survive_the_death_of_the_zygote(doomed_executor):
    executor = doomed_executor
    async with executor.session() as running, executor.session() as idle:
        await idle.run("x = 1")
        await running.send("import random\nrandom._os.sys.modules['time'].sleep(1)\n'done'", sequence=1)
        await executor.until(lambda load: load.running_snippets == 1)
        kill(executor.zygote())
        assert [(await running.read()).result.value, (await idle.run("x")).value] == ["'done'", "1"]
        assert (await executor.execute("2")).value == "2"  # from a new zygote
        assert (await idle.run("x")).value == "1"


async def test_death_of_the_reaper_fails_running_and_idle_sessions(small_executor):
    async with small_executor.session() as running, small_executor.session() as idle:
        await idle.run("x = 1")
        await running.send("while True: pass", sequence=1)
        await small_executor.until(lambda load: load.running_snippets == 1)
        kill(small_executor.reaper())
        failed = [(await running.read()).result, await idle.run("x")]
        assert [(result.outcome, result.state_lost) for result in failed] == [(pb.OUTCOME_SANDBOX_FAILED, True)] * 2
        again = await idle.run("1 + 1")
        while again.outcome == pb.OUTCOME_SANDBOX_FAILED:  # it got a waiting sandbox that was dying with the reaper
            again = await idle.run("1 + 1")
        assert again.value == "2"


async def test_sandbox_killed_from_outside_is_a_sandbox_failure(small_executor):
    async with small_executor.session() as session:
        await session.send("while True: pass", sequence=1)
        await small_executor.until(lambda load: load.running_snippets == 1)
        for sandbox in small_executor.sandboxes():
            kill(sandbox)
        assert (await session.read()).result.outcome == pb.OUTCOME_SANDBOX_FAILED


async def test_processes_and_descriptors_do_not_leak(small_executor):
    supervisor = psutil.Process(small_executor.pid)
    endings = ["1", "while True: pass", "import random\nrandom._os._exit(1)", "print('x' * 10**6)", "exit()"]

    async def settled() -> tuple[int, int]:
        await small_executor.until(lambda load: load.live_sessions == 0 and load.waiting_sandboxes == 1)
        await asyncio.sleep(0.2)  # for the reaper to report the end of the last one
        return supervisor.num_fds(), len(descendants(supervisor.pid))

    before = await settled()
    for _ in range(4):
        await asyncio.gather(*(small_executor.execute(code, wall_ms=50) for code in endings))
    assert await settled() == before
    assert psutil.STATUS_ZOMBIE not in [psutil.Process(pid).status() for pid in descendants(supervisor.pid)]


async def test_no_process_survives_the_supervisor(doomed_executor):
    async with doomed_executor.session() as session:
        await session.send("while True: pass", sequence=1)
        await doomed_executor.until(lambda load: load.running_snippets == 1)
        below = [psutil.Process(pid) for pid in descendants(doomed_executor.pid)]
        assert len(below) >= 3
        doomed_executor.process.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, below, 5)
        assert alive == []


async def test_sigterm_lets_a_running_snippet_finish_and_closes_idle_sessions(doomed_executor):
    executor = doomed_executor
    async with executor.session() as busy, executor.session() as idle:
        await busy.send("import random\nrandom._os.sys.modules['time'].sleep(0.5)\n'done'", sequence=1)
        await executor.until(lambda load: load.running_snippets == 1)
        executor.process.send_signal(signal.SIGTERM)
        assert await idle.stream.code() is grpc.StatusCode.UNAVAILABLE
        assert (await busy.read()).result.value == "'done'"
        assert await busy.stream.code() is grpc.StatusCode.UNAVAILABLE
        async with asyncio.timeout(5):
            assert await executor.process.wait() == 0


async def test_health_is_serving(executor):
    health = health_stub(executor.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service="deepmath.executor.v1.ExecutorService"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_info_reports_limits_modules_and_load(executor):
    info = await executor.stub.GetInfo(pb.GetInfoRequest())
    assert info.default_limits == pb.Limits(
        wall_ms=20_000, cpu_ms=20_000, memory_bytes=512 << 20, output_bytes=16 << 10
    )
    most_memory = info.maximum_limits.memory_bytes  # lowered to what fits: the container has 4 GiB
    assert 2 << 30 < most_memory <= 4 << 30
    assert info.maximum_limits == pb.Limits(
        wall_ms=120_000, cpu_ms=120_000, memory_bytes=most_memory, output_bytes=256 << 10
    )
    assert tuple(info.allowed_modules) == ALLOWED_MODULES
    assert info.load.maximum_sessions == 512
    assert info.load.maximum_running_snippets == len(os.sched_getaffinity(0))


async def test_opened_and_info_report_the_same_versions(executor):
    async with executor.session() as session:
        session.stream.cancel()
    info = await executor.stub.GetInfo(pb.GetInfoRequest())
    assert set(info.versions) == {"python", "numpy", "scipy", "sympy", "mpmath", "networkx"}
    stream = executor.stub.Session()
    await stream.write(pb.SessionRequest(open=pb.OpenSession()))
    assert (await stream.read()).opened.versions_digest == info.versions_digest
    stream.cancel()


@pytest.fixture(scope="module")
async def check_below_the_required_level():
    return await run_module("--check", "--level=pod", "--require=full")


def layers_in(out: str) -> dict[str, bool]:
    layers = [json.loads(line) for line in out.splitlines()]
    assert all(set(layer) == {"name", "in_force", "detail"} for layer in layers)
    return {layer["name"]: layer["in_force"] for layer in layers}


async def test_check_prints_the_layers_of_level_full():
    ended = await run_module("--check", "--require=full")
    assert ended.status == 0
    assert all(layers_in(ended.out).values())


async def test_check_prints_the_layers_of_level_pod(check_below_the_required_level):
    layers = layers_in(check_below_the_required_level.out)
    assert {"landlock", "seccomp", "no_new_privileges", "capabilities", "resource_limits"} <= {
        name for name, in_force in layers.items() if in_force
    }
    assert not any(in_force for name, in_force in layers.items() if name.endswith("_namespace"))


async def test_start_below_the_required_level_is_refused_with_a_reason(check_below_the_required_level):
    ended = check_below_the_required_level
    assert ended.status == 1
    assert "isolation level 'full' is not available here: no user_namespace" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--wall-ms", "0", "greater than 0"),
        ("--wall-ms", "999999999", "wall_ms is over maximum_wall_ms"),
        ("--require", "best", "full"),
        ("--max-sessions", "many", "integer"),
        ("--max-queued-snippets", "0", "greater than 0"),
        ("--snippets-per-second-per-client", "nan", "finite number"),
        ("--idle-seconds", "-1", "greater than 0"),
        ("--backend", "podman", "'native' or 'docker'"),
        ("--allow-module", "scipy.stats", "give the top-level module 'scipy'"),
        ("--allow-module", "no module", "'no module' is not the name of a module"),
        ("--deny-module", "os", "module 'os' is not allowed anyway"),
    ],
)
async def test_invalid_option_is_a_usage_error_with_the_reason(option, value, reason):
    ended = await run_module(option, value)
    assert ended.status == 2
    assert reason in ended.err
    assert "Traceback" not in ended.err


async def test_allowed_module_that_is_not_installed_is_reported():
    ended = await run_module("--allow-module", "no_such_module,math", "--allow-module", "missing_too")
    assert ended.status == 1
    assert ended.err == (
        "deepmath serve executor: allowed modules are not installed for the sandboxes: missing_too, no_such_module; "
        "install them, or do not allow them\n"
    )


async def test_operator_changes_the_list_of_allowed_modules(tmp_path):
    options = ("--allow-module=platform", "--allow-module=os,threading", "--deny-module=time", "--waiting-sandboxes=1")
    async with running(tmp_path, *options) as executor:
        info = await executor.stub.GetInfo(pb.GetInfoRequest())
        assert set(info.allowed_modules) ^ set(ALLOWED_MODULES) == {"os", "platform", "threading", "time"}
        async with executor.session() as session:
            assert (await session.run("import os.path\nos.path.join('a', 'b')")).value == "'a/b'"
            assert (await session.run("os.fork()")).exception.type == "PermissionError"
            refused = await session.run("import time")
            assert refused.outcome == pb.OUTCOME_POLICY_VIOLATION
            assert "'time' may not be imported here; allowed modules: abc, argparse, " in refused.exception.message


async def test_invalid_listen_address_is_reported():
    ended = await run_module("--listen", "256.0.0.1:1", "--insecure")
    assert ended.status == 1
    assert "cannot listen on 256.0.0.1:1" in ended.err


async def test_every_snippet_leaves_an_audit_line_without_its_code(executor):
    async with executor.session(session_id="trajectory-7") as session:
        await session.run("secret_name = 41")
        await session.run("1 / 0", wall_ms=900)
        first, second = await executor.audit_of("trajectory-7", 2)
    assert (first["sequence"], first["outcome"]) == (1, "OK")
    assert first["code_sha256"] == hashlib.sha256(b"secret_name = 41").hexdigest()
    assert (second["outcome"], second["limits"]["wall_ms"]) == ("EXCEPTION", 900)
    assert "secret_name" not in executor.log.read_text()


async def test_snippet_whose_client_disconnects_leaves_an_audit_line(executor):
    async with executor.session(session_id="gone") as session:
        await session.send("while True: pass", 1)
        await executor.until(lambda load: load.running_snippets == 1)
    await executor.until(lambda load: load.running_snippets == 0)
    (line,) = await executor.audit_of("gone")
    assert (line["sequence"], line["outcome"]) == (1, "UNSPECIFIED")
    assert line["code_sha256"] == hashlib.sha256(b"while True: pass").hexdigest()


async def open_sessions(executor, sessions: AsyncExitStack, count: int) -> None:
    for _ in range(count):
        await sessions.enter_async_context(executor.session())


def highest_descriptor(pid: int) -> int:
    return max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.slow
async def test_service_without_free_descriptors_refuses_and_recovers(doomed_executor):
    pid = doomed_executor.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    for free in range(1, 9):  # opening a sandbox takes eight; each of them is missing once
        await doomed_executor.until(lambda load: load.waiting_sandboxes == 1)
        highest = highest_descriptor(pid)
        async with asyncio.timeout(20), AsyncExitStack() as sessions:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + free, before[1]))
            with pytest.raises(grpc.aio.AioRpcError, match="no sandbox"):
                await open_sessions(doomed_executor, sessions, 6)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert (await doomed_executor.execute("1 + 1")).value == "2"


def files_mapped(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except FileNotFoundError:  # a sandbox that has just ended
        return ""


async def test_no_process_of_the_executor_loads_torch(executor):
    for pid in (executor.pid, *descendants(executor.pid)):
        assert "torch" not in files_mapped(pid)


async def test_supervisor_never_loads_the_maths_libraries(executor):
    assert "scipy" not in files_mapped(executor.pid)
    assert "numpy" not in files_mapped(executor.pid)


async def test_session_gets_a_sandbox_that_was_already_waiting(small_executor):
    await small_executor.until(lambda load: load.live_sessions == 0 and load.waiting_sandboxes == 1)
    waiting = small_executor.sandboxes()
    async with small_executor.session() as session:
        await session.send("while True: pass", sequence=1)
        await small_executor.until(lambda load: load.running_snippets == 1)
        await asyncio.sleep(0.2)
        busiest = max(small_executor.sandboxes(), key=lambda pid: sum(psutil.Process(pid).cpu_times()[:2]))
        assert [busiest] == waiting
