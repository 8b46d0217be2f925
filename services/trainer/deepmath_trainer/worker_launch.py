"""The command line and process of a run's worker, or of several on as many devices."""

import asyncio
import os
import sys
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import IO

from deepmath.errors import InvalidRequest
from deepmath.observability.logs import Format, current_format
from deepmath.observability.output_relay import RelaySettings
from deepmath_trainer.run_config import LaunchConfig
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.weight_type import weight_type

ACCELERATE = Path(str(files("deepmath_trainer") / "accelerate"))
_WORKER = "deepmath_trainer.training_worker"
_LOG_FORMAT = "DEEPMATH_WORKER_LOG_FORMAT"  # environment variable of a worker
_LAST_LINES_S = 2.0  # for the relay to write them


def worker_command(launch: LaunchConfig, folder: Path) -> list[str]:
    """Return the command line of the worker of the run in `folder`.

    Raises:
        InvalidRequest: the configuration of accelerate does not exist.
    """
    worker = [sys.executable, "-P", "-m", _WORKER, str(folder)]
    if launch.processes == 1 and not launch.accelerate:
        return worker
    options = [f"--num_processes={launch.processes}", f"--mixed_precision={_precision(launch)}"]
    if launch.accelerate:
        options.append(f"--config_file={_accelerate_config(launch.accelerate)}")
    elif launch.cpu:  # accelerate starts several CPU processes with MPI only
        torchrun = [sys.executable, "-P", "-m", "torch.distributed.run"]
        return [*torchrun, f"--nproc-per-node={launch.processes}", "--no-python", *worker]
    else:
        options.append("--multi_gpu")
    return [sys.executable, "-P", "-m", "accelerate.commands.launch", *options, "--no_python", *worker]


class WorkerProcess:
    """A worker and the relay of its output. Its end is known when its last lines are in the log."""

    def __init__(self, worker: asyncio.subprocess.Process, relay: asyncio.subprocess.Process) -> None:
        self.pid = worker.pid
        self._worker, self._relay = worker, relay
        self._end = asyncio.create_task(self._wait_for_both())

    @property
    def returncode(self) -> int | None:
        """The exit status, negative after a signal; None until the worker has ended."""
        return self._worker.returncode if self._end.done() else None

    async def wait(self) -> None:
        """Wait until the worker has ended."""
        await asyncio.shield(self._end)

    async def _wait_for_both(self) -> None:
        await self._worker.wait()
        with suppress(TimeoutError):  # a child of the worker still has the log open
            await asyncio.wait_for(self._relay.wait(), _LAST_LINES_S)


async def start_worker(command: list[str], folder: RunFolder, lock: IO[bytes]) -> WorkerProcess:
    """Start `command`, which holds `lock` while it lives. Its output goes to the run's worker.log and to our stderr.

    A relay of its own forwards it: the worker waits neither for the disk nor for the reader of our stderr, and outlives
    this process.
    """
    reader, writer = os.pipe()
    try:
        relay = await _start_relay(reader, folder.worker_log)
        worker = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C is handled by the command line, which requests a checkpoint
            # Threads that spin while waiting take the core from the threads that they wait for.
            env={"OMP_WAIT_POLICY": "passive", **os.environ, _LOG_FORMAT: current_format()},
        )
    finally:
        os.close(reader)
        os.close(writer)
    return WorkerProcess(worker, relay)


def worker_log_format() -> Format:
    """Return the log format of the service that started this worker."""
    return "json" if os.environ.get(_LOG_FORMAT) == "json" else "text"


async def _start_relay(reader: int, log: Path) -> asyncio.subprocess.Process:
    service = "trainer" if current_format() == "json" else ""
    settings = RelaySettings(service, stderr=reader, file=str(log))
    return await asyncio.create_subprocess_exec(
        *settings.command(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        pass_fds=settings.inherited,
        start_new_session=True,
    )


def _precision(launch: LaunchConfig) -> str:
    return "bf16" if weight_type(launch) == "bfloat16" else "no"


def _accelerate_config(name: str) -> Path:
    names = sorted(path.stem for path in ACCELERATE.glob("*.yaml"))
    path = ACCELERATE / f"{name}.yaml" if name in names else Path(name)
    if not path.is_file():
        raise InvalidRequest(f"launch.accelerate: no file {name}; use a file or one of {', '.join(names)}")
    return path
