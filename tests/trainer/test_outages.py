"""A run waits for services that are killed, and continues when they are back."""

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
        executor = await services.start("executor")
        options = ("--executor", executor, "--model", str(EMBEDDED_MODEL), *EMBEDDED_OPTIONS)
        generator = await services.start("generator", *options)
        run = await worker(tmp_path / "run", small(generator, "optimizer.steps=8", "checkpoint.every=99"))
        await run.until_step(1)
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
