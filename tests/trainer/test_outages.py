"""Services are killed under a run, which waits for them and goes on."""

import psutil
import pytest

from deepmath.local_stack.local_services import LocalServices
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS

from .conftest import small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def kill(services: LocalServices, at: int) -> None:
    """Kill -9 a service. The processes that it started end by themselves."""
    process = psutil.Process(services.processes[at].pid)
    started = process.children(recursive=True)
    process.kill()
    _, left = psutil.wait_procs(started, timeout=20)
    assert started
    assert not left


async def test_run_goes_on_when_executor_and_generator_are_killed(worker, tmp_path) -> None:
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
    # The generator came back without any policy and was given the newest before it sampled again.
    assert {one["staleness"] for one in metrics[1:]} == {1}
