"""The runs of a folder: their names, their workers, and the state of those whose worker has died."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deepmath.errors import DeepMathError, InvalidRequest, Unavailable, WrongOrder
from deepmath.observability.log_line import message_of
from deepmath.serving.setting_errors import did_you_mean
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_folder import STARTED_FILES, RunFolder
from deepmath_trainer.run_state import RunState
from deepmath_trainer.worker_launch import WorkerProcess, start_worker, worker_command

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_POLL_S = 0.1
_LOG_TAIL_BYTES = 64 << 10  # the part of a worker's log from which an error quotes
_LONGEST_QUOTE = 400  # characters


class RunRegistry:
    """The runs below `root`, for use by one event loop."""

    def __init__(self, root: Path, stop_seconds: float) -> None:
        """Load the runs below `root`.

        `stop_seconds` is how long a worker may take to stop before it is killed.

        Raises:
            DeepMathError: `root` is not writable.
        """
        self._root, self._stop_seconds = root, stop_seconds
        self._workers: dict[str, WorkerProcess] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._stop_requested: set[str] = set()
        self._starting = asyncio.Lock()
        self._shutting_down = False
        with _explain_write_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            (root / ".probe").touch()
            (root / ".probe").unlink()
        for folder in self.all():
            self.state(folder)

    def all(self) -> list[RunFolder]:
        """Return the runs, latest first."""
        folders = [RunFolder(path.parent) for path in self._root.glob("*/state.json")]
        complete = [folder for folder in folders if folder.config.exists()]  # not one that is being deleted
        return sorted(complete, key=lambda folder: folder.config.stat().st_mtime, reverse=True)

    def find(self, name: str) -> RunFolder:
        """Return the run `name`.

        Raises:
            InvalidRequest: it does not exist.
        """
        names = [folder.name for folder in self.all()]
        if name not in names:
            raise InvalidRequest(f"there is no run {name!r}{did_you_mean(name, names)}")
        return RunFolder(self._root / name)

    def new(self, name: str) -> RunFolder:
        """Return the folder for a new run `name`.

        Raises:
            InvalidRequest: `name` is not a valid folder name.
            WrongOrder: the run exists.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} is not a valid name for a run: use at most 64 letters, digits, -, _ and ., and no . or - at "
                "the start"
            )
        if self._is_taken(name):
            raise WrongOrder(f"the run {name} exists: resume it with --resume, or use another --name")
        return RunFolder(self._root / name)

    def new_numbered(self, stem: str) -> RunFolder:
        """Return the folder for a new run `stem`, with a number appended if the name is taken."""
        stem = re.sub(r"[^A-Za-z0-9_.-]", "-", stem)[:58].lstrip(".-") or "run"
        number = 1
        while self._is_taken(name := stem if number == 1 else f"{stem}-{number}"):
            number += 1
        return self.new(name)

    def _is_taken(self, name: str) -> bool:
        """Return whether the folder `name` has more than what is left of a start that was killed."""
        path = self._root / name
        return path.exists() and (not path.is_dir() or not {file.name for file in path.iterdir()} <= STARTED_FILES)

    def state(self, folder: RunFolder) -> RunState:
        """Return the state of a run. One whose worker died without writing its last state has failed."""
        state = folder.read_state()
        worker = self._workers.get(folder.name)
        if state.ended or (worker and worker.returncode is None) or folder.is_held():
            return state
        state = folder.read_state()  # the worker may have written its last state since
        if state.ended:
            return state
        if worker and folder.name in self._stop_requested and worker.returncode == -signal.SIGTERM:
            return _record(folder, status="stopped", error="")  # stopped before it handled signals
        return _record(folder, status="failed", error=_reason(folder, worker.returncode if worker else None))

    async def start(self, folder: RunFolder, config: TrainConfig) -> None:
        """Start a worker for the run in `folder`, which resumes it if it has a checkpoint.

        Raises:
            WrongOrder: the run has a worker.
            Unavailable: the service is shutting down.
            DeepMathError: the folder is not writable.
        """
        async with self._starting:
            if self._shutting_down:
                raise Unavailable("the trainer is shutting down; start the run when it is back")
            worker = await self._start_worker(folder, config)
            self._workers[folder.name] = worker
        task = asyncio.create_task(self._record_end(folder, worker))
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _start_worker(self, folder: RunFolder, config: TrainConfig) -> WorkerProcess:
        new = not folder.path.exists()
        with _explain_write_errors(folder.path, new):
            folder.path.mkdir(exist_ok=True)
            with folder.hold() as lock:  # inherited by the worker, which holds it until it ends
                folder.write_config(config.to_yaml())
                folder.write_state(
                    status="starting", error="", misconfigured=False, pid=0, steps=config.optimizer.steps
                )
                self._stop_requested.discard(folder.name)
                return await start_worker(worker_command(config.launch, folder.path), folder, lock)

    async def stop(self, folder: RunFolder) -> RunState:
        """Make the worker of a run write a checkpoint and stop; return the run's last state."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._stop_seconds
        self._stop_requested.add(folder.name)
        signalled = 0
        while not (state := self.state(folder)).ended:
            pid = self.worker_pid(folder)
            if pid and pid != signalled:
                _signal(pid, signal.SIGTERM)
                signalled = pid
            if pid and loop.time() > end:
                _kill_group(pid)
            await asyncio.sleep(_POLL_S)
        return state

    def worker_pid(self, folder: RunFolder) -> int:
        """Return the process id of a run's worker, the one that handles SIGTERM; 0 while it is unknown."""
        worker = self._workers.get(folder.name)
        return folder.read_state().pid or (worker.pid if worker else 0)

    async def stop_all(self) -> None:
        """Stop the runs whose workers this process has started, and start no more."""
        self._shutting_down = True
        async with self._starting:  # includes a run that is being started
            pass
        await asyncio.gather(*(self.stop(RunFolder(self._root / name)) for name in self._workers))

    async def _record_end(self, folder: RunFolder, worker: WorkerProcess) -> None:
        await worker.wait()
        self.state(folder)


def _record(folder: RunFolder, status: str, error: str) -> RunState:
    """Return the state with the end of a run, and write it unless the disk is full: then it is found again."""
    try:
        return folder.write_state(status=status, error=error, waiting_for="")
    except OSError:
        return replace(folder.read_state(), status=status, error=error, waiting_for="")


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has just ended
        pass


def _kill_group(pid: int) -> None:
    try:
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    except ProcessLookupError:
        pass


def _reason(folder: RunFolder, status: int | None) -> str:
    """Return why a worker died without writing its last state. `status` is its exit status, if known."""
    if status is None:
        return f"interrupted; resume with `deepmath train --resume --name {folder.name}`"
    if status < 0:
        killed = signal.Signals(-status).name
        return f"the worker was killed by {killed}" + (" (out of memory?)" if killed == "SIGKILL" else "")
    line = _last_line(folder.worker_log)
    return f"{line} (full log: {folder.worker_log})" if line else f"the worker exited with status {status}"


def _last_line(log: Path) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        lines = file.read().split(b"\n")
    return next((message_of(line)[:_LONGEST_QUOTE] for line in reversed(lines) if line.strip()), "")


@contextmanager
def _explain_write_errors(folder: Path, remove: bool = False) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if remove:
            shutil.rmtree(folder, ignore_errors=True)
        raise DeepMathError(
            f"cannot write to {folder}: {error.strerror or error}; free disk space or use another folder with --runs"
        ) from error
