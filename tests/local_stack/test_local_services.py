"""Services as child processes: started from a busy process, stopped with their parent."""

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.exit_codes import EXIT_INTERRUPTED
from deepmath.local_stack.local_services import LocalServices
from deepmath.local_stack.stack import LocalStack
from deepmath.observability.output_relay import MAX_FILE_BYTES

_STACK = """
import asyncio
from deepmath.local_stack.stack import LocalStack

async def main():
    async with LocalStack() as stack:
        print(stack.processes[0].pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def test_service_is_stopped_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _STACK], stdout=subprocess.PIPE) as process:
        assert process.stdout
        service = psutil.Process(int(process.stdout.readline()))
        process.kill()
    gone, _ = psutil.wait_procs([service], timeout=30)
    assert gone


async def test_services_of_a_higher_niceness_leave_the_processors_to_others() -> None:
    mine = psutil.Process().nice()
    async with LocalStack(niceness=3) as stack:
        service = psutil.Process(stack.processes[0].pid)
        assert {process.nice() for process in (service, *service.children(recursive=True))} == {min(mine + 3, 19)}
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{service.pid}/autogroup") as autogroup:  # noqa: ASYNC230 - not in every kernel
            assert autogroup.read().endswith("nice 3\n")


async def test_services_start_from_a_process_with_busy_grpc_threads(executor, monkeypatch) -> None:
    """Python code between fork and exec would make gRPC start threads in the child, which kill it later."""
    monkeypatch.setattr(sys, "executable", "/bin/true")  # a service that exits at once without a log line

    async def call() -> None:
        while True:
            await executor.get_info()

    async with LocalServices() as services:
        calling = [asyncio.create_task(call()) for _ in range(3)]
        for _ in range(60):
            with pytest.raises(Unavailable, match="it gave no reason"):
                await services.start("executor")
        for one in calling:
            one.cancel()


def test_temporary_folder_with_a_too_long_path_is_refused(tmp_path, monkeypatch) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(InvalidRequest, match="is over 107 bytes, the maximum of a socket's path; set TMPDIR"):
        LocalStack()
    gc.collect()
    assert list(folder.iterdir()) == []


def _print_in(pid: int) -> None:
    """Print 25 MiB to the stderr of a service, as a library in it would."""
    with Path(f"/proc/{pid}/fd/2").open("wb") as stderr:
        for _ in range(400):
            stderr.write(b"0123456789abcde\n" * (1 << 12))


async def test_logs_of_services_are_bounded() -> None:
    async with LocalServices() as services:
        await services.start("executor", "--preload=none", "--waiting-sandboxes=0")
        (process,) = services.processes
        await asyncio.to_thread(_print_in, process.pid)
        async with asyncio.timeout(60):
            while sum(sizes := [log.stat().st_size for log in services.folder.glob("executor.log*")]) < 9 << 20:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert len(sizes) == 2
        assert max(sizes) <= MAX_FILE_BYTES


async def test_service_that_logs_as_json_is_found_and_its_reason_too() -> None:
    async with LocalServices() as services:
        address = await services.start("executor", "--preload=none", "--waiting-sandboxes=0", "--log-format=json")
        assert address == services.socket("executor")
        with pytest.raises(Unavailable, match=r"did not start: deepmath serve executor: cannot write audit log"):
            await services.start("executor", "--log-format=json", "--audit-file=/dev/full", "--preload=none")


@pytest.mark.slow
def test_command_interrupted_while_the_model_loads_exits_without_a_traceback() -> None:
    """The engine's processes inherit the generator's output, and may outlive it."""
    command = [sys.executable, "-c", "from deepmath.cli.main import main; main()", "solve", "2 + 2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 200
        while not _loading(process.pid):
            assert time.monotonic() < until
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED
    assert errors.strip() == "starting the local stack; loading a model takes half a minute or more"


def _loading(pid: int) -> bool:
    """Whether the generator has started its engine's processes."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children():
            if "deepmath_generator" in process.cmdline():
                return len(process.children(recursive=True)) > 1
    return False
