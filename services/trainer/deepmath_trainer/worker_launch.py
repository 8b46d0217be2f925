"""The command line and process of a run's worker, or of several on as many devices."""

import asyncio
import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import IO

from deepmath.errors import InvalidRequest
from deepmath_trainer.run_config import LaunchConfig
from deepmath_trainer.run_folder import RunFolder

ACCELERATE = Path(str(files("deepmath_trainer") / "accelerate"))
_WORKER = "deepmath_trainer.training_worker"


def worker_command(launch: LaunchConfig, folder: Path) -> list[str]:
    """Return the command line of the worker of the run in `folder`.

    Raises:
        InvalidRequest: the configuration of accelerate does not exist.
    """
    worker = ["-P", "-m", _WORKER, str(folder)]
    if launch.processes == 1 and not launch.accelerate:
        return [sys.executable, *worker]
    options = [f"--num_processes={launch.processes}", f"--mixed_precision={_precision(launch)}"]
    if launch.accelerate:
        options.append(f"--config_file={_accelerate_config(launch.accelerate)}")
    elif launch.cpu:  # accelerate starts several CPU processes with MPI only
        return [sys.executable, "-P", "-m", "torch.distributed.run", f"--nproc-per-node={launch.processes}", *worker]
    else:
        options.append("--multi_gpu")
    return [sys.executable, "-P", "-m", "accelerate.commands.launch", *options, *worker]


async def start_worker(command: list[str], folder: RunFolder, lock: IO[bytes]) -> asyncio.subprocess.Process:
    """Start `command`, which logs to the run's worker.log and holds `lock` while it lives."""
    with folder.worker_log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C is handled by the command line, which requests a checkpoint
            # Threads that spin while waiting take the core from the threads that they wait for.
            env={"OMP_WAIT_POLICY": "passive", **os.environ},
        )


def _precision(launch: LaunchConfig) -> str:
    return "bf16" if launch.dtype == "bfloat16" else "no"


def _accelerate_config(name: str) -> Path:
    names = sorted(path.stem for path in ACCELERATE.glob("*.yaml"))
    path = ACCELERATE / f"{name}.yaml" if name in names else Path(name)
    if not path.is_file():
        raise InvalidRequest(f"launch.accelerate: no file {name}; use a file or one of {', '.join(names)}")
    return path
