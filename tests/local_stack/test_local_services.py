"""Services that a command starts end with it, and begin whatever the process that starts them is at."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from deepmath.errors import Unavailable
from deepmath.exit_codes import EXIT_INTERRUPTED
from deepmath.local_stack.local_services import LocalServices

_STACK = """
import asyncio
from deepmath.stack import LocalStack

async def main():
    async with LocalStack() as stack:
        print(stack.processes[0].pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def test_service_ends_with_the_process_that_started_it_even_if_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _STACK], stdout=subprocess.PIPE) as process:
        assert process.stdout
        service = psutil.Process(int(process.stdout.readline()))
        process.kill()
    gone, _ = psutil.wait_procs([service], timeout=30)
    assert gone


async def test_nothing_of_a_busy_process_comes_to_life_in_the_services_that_it_starts(executor, monkeypatch) -> None:
    """Between fork and exec gRPC would start threads in the child, which end it when their descriptors are closed."""
    monkeypatch.setattr(sys, "executable", "/bin/true")  # a service that ends at once, and has no last words of its own

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


@pytest.mark.slow
def test_command_that_is_interrupted_while_the_model_loads_ends_without_a_traceback() -> None:
    """The engine's processes have inherited the generator's output, and may live longer than it."""
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
    """Whether the generator has started processes of its own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children():
            if "deepmath_generator" in process.cmdline():
                return len(process.children(recursive=True)) > 1
    return False
