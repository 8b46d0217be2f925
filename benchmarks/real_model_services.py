"""Services and commands of the experiment on a real model, as processes of the `deepmath` command."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

COMMAND = (sys.executable, "-P", "-c", "from deepmath.cli.entry_point import main; main()")
_START_S = 600.0
_STOP_S = 150.0
_METER_S = 2.0


@dataclass(frozen=True)
class Served:
    """A service that runs."""

    address: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Kill the service and its children with SIGKILL."""
        for process in _tree(self.process.pid):
            with suppress(psutil.Error):
                process.kill()
        self.process.wait()


class Deepmath:
    """Runs commands, and records the events and the memory of the experiment in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events = folder / "events.jsonl"
        self._sockets = tempfile.TemporaryDirectory(prefix="real-")  # a socket's path is short

    def record(self, event: str, **values: Any) -> None:
        """Record that `event` has happened."""
        line = json.dumps({"time": time.time(), "event": event, **values})
        print(line, flush=True)
        with self._events.open("a") as file:
            file.write(f"{line}\n")

    def is_done(self, event: str) -> bool:
        """Return whether `event` has happened."""
        lines = self._events.read_text().splitlines() if self._events.exists() else []
        return any(json.loads(line)["event"] == event for line in lines)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command, with its output in a file of its name."""
        print(shlex.join(("deepmath", *arguments)), flush=True)
        with (self._folder / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def run(self, *arguments: str) -> None:
        """Run a command.

        Raises:
            CalledProcessError: It failed.
        """
        if status := self.start(*arguments).wait():
            raise subprocess.CalledProcessError(status, ["deepmath", *arguments])

    @contextmanager
    def serve(self, name: str, *options: str) -> Iterator[Served]:
        """Run a service for the block.

        Raises:
            CalledProcessError: It did not start.
        """
        address = f"unix:{self._sockets.name}/{name}.sock"
        command = ("serve", name, f"--listen={address}", *options)
        print(shlex.join(("deepmath", *command)), flush=True)
        started = time.monotonic()
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*COMMAND, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert process.stdout
        ready = threading.Timer(_START_S, process.kill)
        ready.start()
        while (line := process.stdout.readline()) and b"serving on" not in line:
            pass
        ready.cancel()
        if not line:
            raise subprocess.CalledProcessError(process.wait(), ["deepmath", *command])
        self.record(f"{name} started", seconds=round(time.monotonic() - started, 1))
        threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
        threading.Thread(target=self._meter, args=(name, process), daemon=True).start()
        try:
            yield Served(address, process)
        finally:
            _stop(process)

    def _meter(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Record new maxima of the memory that a service and its children have for themselves, in GiB."""
        peak = 0.0
        while process.poll() is None:
            memory = 0
            for one in _tree(process.pid):
                with suppress(psutil.Error):
                    memory += one.memory_info().rss - one.memory_info().shared
            if memory / 2**30 > peak * 1.05:
                peak = memory / 2**30
                self.record(f"memory of {name}", gib=round(peak, 2))
            time.sleep(_METER_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _drain(stream: Any) -> None:
    while stream.read(1 << 16):
        pass
