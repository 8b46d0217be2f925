"""A run that was started first waits for its services, and continues after they were killed."""

import psutil
import pytest

from deepmath.local_stack.local_services import LocalServices
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS

from .conftest import small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def kill(services: LocalServices, at: int) -> None:
    """Kill a service with SIGKILL. Its child processes end by themselves."""
    process = psutil.Process(services.processes[at].pid)
    started = process.children(recursive=True)
    process.kill()
    _, left = psutil.wait_procs(started, timeout=20)
    assert started
    assert not left


async def test_run_continues_after_executor_and_generator_are_killed(worker, tmp_path) -> None:
    async with LocalServices() as services:
        options = ("--executor", services.socket("executor"), "--model", str(EMBEDDED_MODEL), *EMBEDDED_OPTIONS)
        settings = small(services.socket("generator"), "optimizer.steps=8", "checkpoint.every=99")
        run = await worker(tmp_path / "run", settings)
        await services.start("executor")
        await services.start("generator", *options)
        await run.until_step(1)
        assert "waiting for a generator" in run.folder.worker_log.read_text()
        kill(services, 0)
        await services.start("executor")
        await run.until_step(3)
        kill(services, 1)
        await services.start("generator", *options)
        assert await run.ended() == "done", run.folder.worker_log.read_text()[-3000:]
    metrics = [line["metrics"] for line in run.folder.read_metrics()]
    assert len(metrics) == 8
    assert sum(one["infrastructure_failures"] for one in metrics) == 0
    # The restarted generator had no policy and got the newest one before it sampled.
    assert {one["staleness"] for one in metrics[1:]} == {1}
