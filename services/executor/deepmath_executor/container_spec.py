"""Specification of a sandbox container: what the engine is asked to create, with every restriction."""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from deepmath.sandbox.isolation.namespaces import NOBODY
from deepmath.sandbox.isolation.rlimits import STACK_BYTES
from deepmath.sandbox.supervisor.fork_server import INTERPRETER_ENVIRONMENT
from deepmath.sandbox.zygote_protocol import ZYGOTE_MODULE, ZygoteSettings
from deepmath_executor import docker_labels
from deepmath_executor.supervisor_socket import SOCKET_NAME

PROCESSES = 32  # launcher, zygote and sandbox, and the runtime's threads before it execs the launcher
_SOCKET_FOLDER = "/run/supervisor"  # in the container
_CPU_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container of `image` (an id) under `runtime` (empty: the engine's default) with `memory_bytes` of memory."""

    image: str
    runtime: str
    memory_bytes: int
    settings: ZygoteSettings

    def options(self) -> dict[str, Any]:
        """Return the arguments of the SDK's `create_container`."""
        socket_path = f"{_SOCKET_FOLDER}/{SOCKET_NAME}"
        return {
            "image": self.image,
            "entrypoint": ["python", "-P", "-m", ZYGOTE_MODULE, "--connect", socket_path, self.settings.to_argument()],
            "command": [],
            "environment": INTERPRETER_ENVIRONMENT,
            # The supervisor's own user, so that it may signal and measure the processes.
            "user": f"{os.getuid() or NOBODY}:{os.getgid() or NOBODY}",
            "hostname": "sandbox",
            "working_dir": "/",
            "healthcheck": {"Test": ["NONE"]},  # the image's health check is for the service
            "labels": {docker_labels.LABEL: docker_labels.own_label()},
        }

    def host_config(self, socket_folder: Path) -> dict[str, Any]:
        """Return the arguments of the SDK's `create_host_config`, with `socket_folder` mounted read-only."""
        profile = files("deepmath_executor").joinpath("seccomp_profile.json").read_text()
        return {
            "auto_remove": True,
            "cap_drop": ["ALL"],
            "cpu_period": _CPU_PERIOD_US,
            "cpu_quota": _CPU_PERIOD_US,
            "ipc_mode": "none",
            "log_config": {"type": "none"},
            "mem_limit": self.memory_bytes,
            "memswap_limit": self.memory_bytes,
            "mounts": [{"Type": "bind", "Source": str(socket_folder), "Target": _SOCKET_FOLDER, "ReadOnly": True}],
            "network_mode": "none",
            "pids_limit": PROCESSES,
            "read_only": True,
            "runtime": self.runtime or None,
            "ulimits": [{"Name": "stack", "Soft": STACK_BYTES, "Hard": STACK_BYTES}],
            "security_opt": ["no-new-privileges:true", f"seccomp={profile}"],
        }
