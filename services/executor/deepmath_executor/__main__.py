"""Entry point of the executor service: `python -m deepmath_executor --listen ADDRESS`."""

from deepmath.serving.sigterm_exit import exit_on_sigterm

if __name__ == "__main__":
    exit_on_sigterm()

import asyncio
import gc
import json
import sys

from deepmath.errors import DeepMathError
from deepmath.exit_codes import EXIT_INTERRUPTED
from deepmath.observability.logs import report_error, set_up_logging, set_up_service_logging
from deepmath.rpc.core_logging import silence_core_logging
from deepmath.sandbox.isolation.cgroup import Cgroup
from deepmath.sandbox.preload_set import MATHS, NOTHING, PLOTS
from deepmath.sandbox.supervisor.backend import Backend
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.native_backend import NativeBackend
from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool
from deepmath.sandbox.zygote_protocol import ZygoteSettings
from deepmath.serving.descriptor_limit import raise_descriptor_limit
from deepmath.serving.service_config import load
from deepmath.serving.service_process import observed, serve
from deepmath_executor.admission import SessionAdmission
from deepmath_executor.audit import AuditLog
from deepmath_executor.config import ExecutorConfig
from deepmath_executor.docker_backend import DockerBackend
from deepmath_executor.memory_fit import fitted_to_memory
from deepmath_executor.metrics import ExecutorMetrics
from deepmath_executor.service import SERVICE_NAME, ExecutorServicer
from deepmath_executor.snippet_records import SnippetRecords

_PRELOAD_SETS = {"maths": MATHS, "plots": PLOTS, "none": NOTHING}
_SUPPORT_PROCESSES = 8  # besides the sandboxes: launcher, reaper and zygote, and those of a zygote being replaced

# Container objects between collections of the youngest, and collections of one generation between those of the next.
_NEW_OBJECTS, _COLLECTIONS = 200, 5


def main(arguments: list[str] | None = None) -> int:
    """Run the service until it is stopped; return its exit status."""
    silence_core_logging()
    config = load(ExecutorConfig, "deepmath serve executor", sys.argv[1:] if arguments is None else arguments)
    set_up = set_up_logging if config.check else set_up_service_logging  # a check's result is no log
    set_up(config.log_level, config.log_format, "executor")
    try:
        asyncio.run(_run(config))
    except DeepMathError as error:
        report_error(f"deepmath serve executor: {error}")
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


async def _run(config: ExecutorConfig) -> None:
    raise_descriptor_limit()
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


def _backend(config: ExecutorConfig) -> Backend:
    memory = MemoryBudget(config.max_total_memory_bytes, None, config.max_running_snippets, config.memory_bytes)
    grace_s = config.grace_ms / 1e3
    settings = ZygoteSettings(_PRELOAD_SETS[config.preload], config.allowed_modules)
    if config.backend == "docker":
        return DockerBackend(config.image, config.runtime, grace_s, config.maximum_memory_bytes, memory, settings)
    processes = _SUPPORT_PROCESSES + config.max_sessions + config.waiting_sandboxes
    cgroup = Cgroup(memory.total_bytes, processes, config.cgroup)
    return NativeBackend(
        config.level, settings.preload, settings.allowed_modules, grace_s=grace_s, cgroup=cgroup, memory=memory
    )


async def _serve(config: ExecutorConfig, pool: SandboxPool) -> None:
    config = fitted_to_memory(config, pool.memory)
    admission = SessionAdmission(config)
    records = SnippetRecords(AuditLog(config.audit_file, config.audit_code, config.audit_sample), ExecutorMetrics())
    records.metrics.watch_state(admission, pool, records.audit)
    pool.on_kill = records.metrics.sandbox_killed
    servicer = ExecutorServicer(config, pool, admission, records)
    _collect_garbage_often()
    try:
        async with observed(config, records.metrics):
            await serve(config, {SERVICE_NAME: servicer.register}, servicer.drain, metrics=records.metrics)
    finally:
        records.audit.close()


def _print_layers(pool: SandboxPool) -> None:
    for layer in pool.layers:
        print(json.dumps(layer))


def _collect_garbage_often() -> None:
    """Let a failed call's request go soon: it is in a cycle with the traceback of its error, and may have a megabyte.

    The modules are left out, because a full collection of them would hold the event loop for 30 ms.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # now the collector knows of few old objects, and collects them as soon as there are a few more
    gc.set_threshold(_NEW_OBJECTS, _COLLECTIONS, _COLLECTIONS)


if __name__ == "__main__":
    sys.exit(main())
