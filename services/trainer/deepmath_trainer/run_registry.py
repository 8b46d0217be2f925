"""All runs of a folder: their names, their workers, and the truth about those whose worker is gone."""

import asyncio
import difflib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepmath.errors import DeepMathError, InvalidRequest, Unavailable, WrongOrder
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_folder import RunFolder, RunState
from deepmath_trainer.worker_launch import command, spawn

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_POLL_S = 0.1
_QUOTED_LOG = 4000  # bytes of a worker's log that an error may quote from
_LONGEST_QUOTE = 400


class RunRegistry:
    """The runs below `root`. One event loop uses it."""

    def __init__(self, root: Path, stop_seconds: float) -> None:
        """Take over the runs that are there.

        Raises:
            DeepMathError: `root` cannot be written to.
        """
        self._root, self._stop_seconds = root, stop_seconds
        self._workers: dict[str, asyncio.subprocess.Process] = {}
        self._reapers: set[asyncio.Task[None]] = set()
        self._asked: set[str] = set()  # runs that were told to stop
        self._starting = asyncio.Lock()
        self._ending = False
        with _writing(root):
            root.mkdir(parents=True, exist_ok=True)
            (root / ".probe").touch()
            (root / ".probe").unlink()
        for folder in self.all():
            self.state(folder)

    def all(self) -> list[RunFolder]:
        """Return the runs, the latest first."""
        folders = [RunFolder(path.parent) for path in self._root.glob("*/state.json")]
        return sorted(folders, key=lambda folder: folder.config.stat().st_mtime, reverse=True)

    def find(self, name: str) -> RunFolder:
        """Return the run `name`.

        Raises:
            InvalidRequest: there is none.
        """
        names = [folder.name for folder in self.all()]
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise InvalidRequest(f"there is no run {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return RunFolder(self._root / name)

    def free(self, name: str) -> RunFolder:
        """Return the folder for a new run `name`.

        Raises:
            InvalidRequest: that is no name for a folder.
            WrongOrder: there is such a run.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} is no name for a run: take at most 64 letters, digits, -, _ and ., the first no . or -"
            )
        if (self._root / name).exists():
            raise WrongOrder(f"there is a run {name}: --resume goes on with it, --name takes another name")
        return RunFolder(self._root / name)

    def fresh(self, stem: str) -> RunFolder:
        """Return the folder for a new run `stem`, with a number after it if the name is taken."""
        stem = re.sub(r"[^A-Za-z0-9_.-]", "-", stem)[:58].lstrip(".-") or "run"
        number = 1
        while (self._root / (name := stem if number == 1 else f"{stem}-{number}")).exists():
            number += 1
        return self.free(name)

    def state(self, folder: RunFolder) -> RunState:
        """Return the state of a run. One whose worker is gone without a last state has failed."""
        state = folder.read_state()
        worker = self._workers.get(folder.name)
        if state.ended or (worker and worker.returncode is None) or folder.is_held():
            return state
        state = folder.read_state()  # it may have ended as it should since it was read
        if state.ended:
            return state
        if worker and folder.name in self._asked and worker.returncode == -signal.SIGTERM:  # before it could listen
            return folder.write_state(status="stopped", error="")
        return folder.write_state(status="failed", error=_reason(folder, worker.returncode if worker else None))

    async def start(self, folder: RunFolder, config: TrainConfig) -> None:
        """Start a worker for the run in `folder`, which may be one to go on with.

        Raises:
            WrongOrder: a worker is at it.
            Unavailable: all runs are being stopped.
            DeepMathError: its folder cannot be written to.
        """
        async with self._starting:
            if self._ending:
                raise Unavailable("the trainer is about to end; start the run at the next one")
            worker = await self._spawn(folder, config)
            self._workers[folder.name] = worker
        task = asyncio.create_task(self._reap(folder, worker))
        self._reapers.add(task)
        task.add_done_callback(self._reapers.discard)

    async def _spawn(self, folder: RunFolder, config: TrainConfig) -> asyncio.subprocess.Process:
        new = not folder.path.exists()
        with _writing(folder.path, new):
            folder.path.mkdir(exist_ok=True)
            with folder.hold() as lock:  # the worker has it too; it ends with the last of us
                folder.write_config(config.to_yaml())
                folder.write_state(status="starting", error="", pid=0, steps=config.optimizer.steps)
                self._asked.discard(folder.name)
                return await spawn(command(config.launch, folder.path), folder, lock)

    async def stop(self, folder: RunFolder) -> RunState:
        """Tell the worker of a run to write a checkpoint and end; return the run's last state."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._stop_seconds
        self._asked.add(folder.name)
        told = 0
        while not (state := self.state(folder)).ended:
            pid = self.worker_pid(folder)
            if pid and pid != told:
                _signal(pid, signal.SIGTERM)
                told = pid
            if pid and loop.time() > end:
                _kill_group(pid)
            await asyncio.sleep(_POLL_S)
        return state

    def worker_pid(self, folder: RunFolder) -> int:
        """Return the process id of a run's worker, the one to ask for a checkpoint; 0 while it is not known."""
        worker = self._workers.get(folder.name)
        return folder.read_state().pid or (worker.pid if worker else 0)

    async def stop_all(self) -> None:
        """Stop the runs whose workers this process has started, and start no others."""
        self._ending = True
        async with self._starting:  # one that is being started is one of them
            pass
        await asyncio.gather(*(self.stop(RunFolder(self._root / name)) for name in self._workers))

    async def _reap(self, folder: RunFolder, worker: asyncio.subprocess.Process) -> None:
        await worker.wait()
        self.state(folder)


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
    """Return why a worker that left no last state has ended. `status` is its exit status where that is known."""
    if status is None:
        return f"interrupted; go on with `deepmath train --resume --name {folder.name}`"
    if status < 0:
        killed = signal.Signals(-status).name
        return f"the worker was killed by {killed}" + (" (out of memory?)" if killed == "SIGKILL" else "")
    words = _last_words(folder.worker_log)
    return f"{words} (all of it in {folder.worker_log})" if words else f"the worker ended with status {status}"


def _last_words(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _QUOTED_LOG))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip()[:_LONGEST_QUOTE] for line in reversed(lines) if line.strip()), "")


@contextmanager
def _writing(folder: Path, remove: bool = False) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if remove:
            shutil.rmtree(folder, ignore_errors=True)
        raise DeepMathError(
            f"cannot write to {folder}: {error.strerror or error}; make room or name another folder with --runs"
        ) from error
