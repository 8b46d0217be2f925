"""Real services that ask who calls, each a process of its own, and what clients prove that with."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deepmath.access.certificate_authority import issue, make_authority
from deepmath.access.token_file import new_token, write_client
from deepmath.access.tokens import TokenClient, hash_of
from deepmath.clients import ExecutorClient

HERE = ("localhost",), ("127.0.0.1",)
ELSEWHERE = ("elsewhere.example",), ("192.0.2.1",)
_START_SECONDS = 400  # of a generator on a machine that does other things too


class Authority:
    """An authority with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_authority(folder, days=2)

    def issue(self, name: str, where=HERE, expired: bool = False) -> Path:
        """Return a new folder for TLS."""
        now = datetime.now(UTC) - timedelta(days=2 if expired else 0)
        return issue(self.folder, name, *where, days=1, force=True, now=now)


def replace(folder: Path, new: Path) -> None:
    """Change the files of `folder` for those of `new` one by one, as a careless script does."""
    for file in ("tls.crt", "tls.key", "ca.crt"):
        shutil.copy(new / file, folder / file)


def swap(volume: Path, new: Path) -> None:
    """Change all files of `volume` at once, as Kubernetes does."""
    data = volume / f"..{os.urandom(4).hex()}"
    shutil.copytree(new, data)
    link = volume / "..new"
    link.symlink_to(data.name)
    link.replace(volume / "..data")


def mount(volume: Path, files: Path) -> Path:
    """Make a `volume` as Kubernetes mounts it."""
    volume.mkdir()
    swap(volume, files)
    for file in ("tls.crt", "tls.key", "ca.crt"):
        (volume / file).symlink_to(f"..data/{file}")
    return volume


def add_token(tokens: Path, name: str, *scopes: str, force: bool = False, **limits: float) -> Path:
    """Add a client to the file `tokens`, and return the file with its token."""
    token = new_token()
    write_client(tokens, name, TokenClient(sha256=hash_of(token), scopes=scopes, **limits), force)
    file = tokens.with_name(f"{name}.token")
    file.write_text(token + "\n")
    return file


@dataclass
class Served:
    """A running service."""

    process: asyncio.subprocess.Process
    address: str
    log: Path
    said: list[str]

    def client(self, tls: Path | None = None, token_file: Path | None = None, **options) -> ExecutorClient:
        return ExecutorClient(self.address, **{"patience_s": 5} | options, tls=tls, token_file=token_file)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def audit(self) -> Iterator[dict[str, object]]:
        return (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith('{"time"'))


@asynccontextmanager
async def serving(service: str, folder: Path, *options: str, listen: str = "127.0.0.1:0") -> AsyncIterator[Served]:
    """Start a service with `options` and end it after."""
    log = folder / f"{service}.log"
    few = ["--waiting-sandboxes=1"] if service == "executor" else []
    command = [sys.executable, "-P", "-m", f"deepmath_{service}", "--listen", listen, *few, *map(str, options)]
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=file)
    try:
        said = []
        async with asyncio.timeout(_START_SECONDS):
            while not (line := (await process.stdout.readline()).decode().strip()).startswith("serving on "):
                assert line, log.read_text()
                said.append(line)
        yield Served(process, line.removeprefix("serving on "), log, said)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.wait()
