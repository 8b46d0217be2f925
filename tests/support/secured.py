"""Services with TLS and tokens, each in its own process, and the credentials of their clients."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

from deepmath.access.certificate_authority import create_ca, issue_certificate
from deepmath.access.token_file_editor import generate_token, write_client
from deepmath.access.tokens import TokenClient, hash_token
from deepmath.clients import ExecutorClient

HERE = ("localhost",), ("127.0.0.1",)
ELSEWHERE = ("elsewhere.example",), ("192.0.2.1",)
_START_SECONDS = 400  # of a generator on a busy machine


class Authority:
    """A CA in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        create_ca(folder, days=2)

    def issue(self, name: str, names: tuple[Sequence[str], Sequence[str]] = HERE) -> Path:
        """Return a new TLS folder for the DNS names and addresses in `names`."""
        return issue_certificate(self.folder, name, *names, days=1, force=True)

    def issue_expired(self, name: str) -> Path:
        """Return a new TLS folder whose certificate expired yesterday."""
        folder = self.issue(name)
        yesterday = datetime.now(UTC) - timedelta(days=1)
        ca = trustme.CA.from_pem((folder / "ca.crt").read_bytes(), (self.folder / "ca.key").read_bytes())
        leaf = ca.issue_cert(
            *HERE[0], *HERE[1], common_name=name, not_before=yesterday - timedelta(days=1), not_after=yesterday
        )
        leaf.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        leaf.private_key_pem.write_to_path(folder / "tls.key")
        return folder


def replace(folder: Path, new: Path) -> None:
    """Replace the files of `folder` by those of `new` one by one, as a careless script does."""
    for file in ("tls.crt", "tls.key", "ca.crt"):
        shutil.copy(new / file, folder / file)


def swap(volume: Path, new: Path) -> None:
    """Replace all files of `volume` at once, as Kubernetes does."""
    data = volume / f"..{os.urandom(4).hex()}"
    shutil.copytree(new, data)
    link = volume / "..new"
    link.symlink_to(data.name)
    link.replace(volume / "..data")


def mount(volume: Path, files: Path) -> Path:
    """Create a `volume` in the layout of a Kubernetes mount."""
    volume.mkdir()
    swap(volume, files)
    for file in ("tls.crt", "tls.key", "ca.crt"):
        (volume / file).symlink_to(f"..data/{file}")
    return volume


def add_token(tokens: Path, name: str, *scopes: str, force: bool = False, **limits: float) -> Path:
    """Add a client to the file `tokens`, and return the file with its token."""
    token = generate_token()
    write_client(tokens, name, TokenClient(sha256=hash_token(token), scopes=scopes, **limits), force)
    file = tokens.with_name(f"{name}.token")
    file.write_text(token + "\n")
    return file


@dataclass
class Served:
    """A running service."""

    process: asyncio.subprocess.Process
    address: str
    log: Path
    printed: list[str]

    def client(self, tls: Path | None = None, token_file: Path | None = None, **options: Any) -> ExecutorClient:
        return ExecutorClient(self.address, **{"patience_s": 5} | options, tls=tls, token_file=token_file)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    async def audit_of(self, client: str) -> dict[str, Any]:
        """Return the last audit line once it is about `client`."""
        async with asyncio.timeout(10):
            while not (lines := list(self.audit())) or lines[-1]["client"] != client:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return lines[-1]

    def audit(self) -> Iterator[dict[str, Any]]:
        return (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith('{"time"'))


@asynccontextmanager
async def serving(
    service: str, folder: Path, *options: str | Path, listen: str = "127.0.0.1:0", preload: str = "none"
) -> AsyncIterator[Served]:
    """Run a service with `options` for the duration of the block. `preload` is for executors."""
    log = folder / f"{service}.log"
    small = ["--waiting-sandboxes=1", f"--preload={preload}"] if service == "executor" else []
    command = [sys.executable, "-P", "-m", f"deepmath_{service}", "--listen", listen, *small, *map(str, options)]
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=file)
    try:
        printed = []
        assert process.stdout
        async with asyncio.timeout(_START_SECONDS):
            while not (line := (await process.stdout.readline()).decode().strip()).startswith("serving on "):
                assert line, log.read_text()
                printed.append(line)
        yield Served(process, line.removeprefix("serving on "), log, printed)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.wait()
