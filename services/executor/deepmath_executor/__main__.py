"""`python -m deepmath_executor --listen ADDRESS`: the executor as a process."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from deepmath.errors import DeepMathError
from deepmath.observability.logs import set_up_logging
from deepmath.rpc.core_logging import silence_core_logging
from deepmath.serving.service_config import load
from deepmath.serving.service_process import exit_on_sigterm, serve
from deepmath_executor.config import ExecutorConfig

_TREE = 8  # processes beside the sandboxes: launcher, reaper and zygote, of an old zygote too
EXIT_INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended

if TYPE_CHECKING:
    from deepmath.sandbox.supervisor.backend import Backend
    from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool


def main(arguments: list[str] | None = None) -> int:
    """Run the service until it is told to end; return its exit status."""
    silence_core_logging()
    exit_on_sigterm()
    config = load(ExecutorConfig, "deepmath serve executor", sys.argv[1:] if arguments is None else arguments)
    set_up_logging(config.log_level, config.log_format, "executor")
    try:
        asyncio.run(_run(config))
    except DeepMathError as error:
        print(f"deepmath serve executor: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


async def _run(config: ExecutorConfig) -> None:
    from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool

    _allow_many_descriptors()
    pool = SandboxPool(_backend(config), config.waiting_sandboxes)
    try:
        await pool.start()
        if config.check:
            _print_layers(pool)
        pool.require(config.require)
        if not config.check:
            await _serve(config, pool)
    finally:
        await pool.close()


def _backend(config: ExecutorConfig) -> "Backend":
    from deepmath.sandbox.isolation.cgroup import Cgroup, memory_here
    from deepmath.sandbox.preload_set import MATHS, NOTHING
    from deepmath.sandbox.supervisor.native_backend import NativeBackend
    from deepmath_executor.docker_backend import DockerBackend

    memory = config.max_total_memory_bytes or memory_here() * 9 // 10
    grace_s = config.grace_ms / 1e3
    preload = MATHS if config.preload == "maths" else NOTHING
    if config.backend == "docker":
        return DockerBackend(config.image, config.runtime, grace_s, config.maximum_memory_bytes, memory, preload)
    processes = _TREE + config.max_sessions + config.waiting_sandboxes
    return NativeBackend(config.level, preload, grace_s=grace_s, cgroup=Cgroup(memory, processes, config.cgroup))


async def _serve(config: ExecutorConfig, pool: "SandboxPool") -> None:
    from deepmath_executor.admission import SessionAdmission
    from deepmath_executor.audit import AuditLog
    from deepmath_executor.metrics import ExecutorMetrics
    from deepmath_executor.service import SERVICE_NAME, ExecutorServicer
    from deepmath_executor.snippet_records import SnippetRecords

    admission = SessionAdmission(config)
    records = SnippetRecords(AuditLog(config.audit_file, config.audit_code), ExecutorMetrics())
    records.metrics.watch_state(admission, pool, records.audit)
    pool.on_kill = records.metrics.sandbox_killed
    servicer = ExecutorServicer(config, pool, admission, records)
    await serve(config, {SERVICE_NAME: servicer.register}, servicer.drain, metrics=records.metrics)


def _print_layers(pool: "SandboxPool") -> None:
    for layer in pool.layers:
        print(json.dumps(layer))


def _allow_many_descriptors() -> None:
    """A sandbox takes five, and the usual soft limit is 1024."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
