"""Virtual environments with vendors' packages, each made once per session and shared by all its processes."""

import asyncio
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "constraints" / "vendors"
SCRIPTS = ROOT / "tests" / "gateway" / "vendor_scripts"

_INSTALL_SECONDS = 280
_SCRIPT_SECONDS = 120


@dataclass(frozen=True)
class VendorEnvironment:
    """A virtual environment that has a vendor's packages and nothing of ours."""

    python: Path

    async def run(
        self, script: str, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = _SCRIPT_SECONDS
    ) -> str:
        """Run a file of `vendor_scripts` and return what it prints; it has to end with status 0."""
        return await self.execute("-P", str(SCRIPTS / script), *arguments, env=env, timeout_s=timeout_s)

    async def execute(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = _SCRIPT_SECONDS
    ) -> str:
        """Run the environment's Python with these arguments and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            str(self.python),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_clean_environment() | dict(env or {}),
        )
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        assert process.returncode == 0, f"{out.decode(errors='replace')}\n{err.decode(errors='replace')}"
        return out.decode()


def make_environment(name: str, base: Path) -> VendorEnvironment:
    """Return the environment with the pins in constraints/vendors/NAME.txt, made below `base` if it is not there yet.

    Skips the test if the packages cannot be installed, unless CI is set: there they are always needed.
    """
    pins = PINS / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    folder = base / f"{name}-{digest}"
    with open(base / f"{name}-{digest}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            failure = _install(folder, pins)
            if failure:
                (pytest.fail if os.environ.get("CI") else pytest.skip)(f"cannot install {pins.name}: {failure}")
            (folder / ".complete").touch()
    return VendorEnvironment(folder / "bin" / "python")


def _install(folder: Path, pins: Path) -> str:
    """Make the environment, and return why that failed; an empty string if it did not."""
    uv = str(Path(sys.executable).with_name("uv"))
    commands = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        # No file is compiled: an environment is used for a few seconds.
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", str(folder / "bin" / "python"), "-r", str(pins)],
    )
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
        except subprocess.CalledProcessError as error:
            return str(error.stderr).strip()[-1000:]
        except subprocess.TimeoutExpired:
            return f"no end after {_INSTALL_SECONDS} s"
    return ""


def _clean_environment() -> dict[str, str]:
    ours = ("PYTHON", "VIRTUAL_ENV", "DEEPMATH_", "OPENAI_", "E2B_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"NO_PROXY": "*"}
