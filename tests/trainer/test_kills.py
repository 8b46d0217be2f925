"""A run whose services are killed, and runs that share a generator, equal one that has a generator to itself.

`python -m benchmarks.kill_matrix` is the complete matrix of moments and services. Its generator samples by the exact
weights of the policy: a single wrong bit, or another policy in its place, changes what a run writes.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.worker_launch import worker_command

from benchmarks.kill_matrix import (
    AGAIN,
    ALL,
    EVERY,
    EXECUTOR,
    GENERATOR,
    MOMENTS,
    TRAINER,
    Services,
    Worker,
    differences,
    services,
    settings,
    train,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Services]:
    """A generator with room for two adapters, which all runs of this module share."""
    async with services(max_adapters=2) as started:
        yield started


@pytest.fixture(scope="module")
async def undisturbed(served: Services, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed, the first one of its generator."""
    path: Path = tmp_path_factory.mktemp("runs") / "undisturbed"
    await train(path, settings(served.address(GENERATOR)), served)
    return path


async def test_run_that_is_killed_again_and_again_equals_one_that_is_not(served, undisturbed, tmp_path) -> None:
    kills = (
        (MOMENTS["evaluation before training"], (GENERATOR,)),
        (MOMENTS["step 2, before the first checkpoint"], (TRAINER,)),
        (MOMENTS["upload of a policy"], ALL),
        (MOMENTS["before the checkpoint's rename"], (TRAINER,)),
        (MOMENTS["after the checkpoint's rename"], (EXECUTOR,)),
        (MOMENTS["3 steps past the checkpoint"], (TRAINER,)),
        (AGAIN["again, while the sampler is restored"], (TRAINER, GENERATOR)),
        (MOMENTS["deletion of the first checkpoint"], (TRAINER,)),
        (MOMENTS["evaluation after training"], (TRAINER,)),
        (MOMENTS["result half written"], (TRAINER,)),
    )
    await train(tmp_path / "run", settings(served.address(GENERATOR)), served, *kills)
    assert differences(tmp_path / "run", undisturbed) == []


async def test_two_runs_at_once_equal_one_alone(served, undisturbed, tmp_path) -> None:
    config = settings(served.address(GENERATOR))
    await asyncio.gather(*(train(tmp_path / name, config, served) for name in ("one", "other")))
    for name in ("one", "other"):
        assert differences(tmp_path / name, undisturbed) == []


async def test_sigterm_during_a_checkpoint_stops_the_run_without_another_batch(served, tmp_path) -> None:
    config = settings(served.address(GENERATOR), "rollout.staleness=0")
    RunFolder(tmp_path).write_config(config.to_yaml())
    moment = MOMENTS["after the checkpoint's rename"]
    worker = Worker(tmp_path, moment)
    try:
        assert await worker.report() == moment
        await served.kill(GENERATOR)
        assert worker.process.pid
        os.kill(worker.process.pid, signal.SIGTERM)
        worker.go_on(None)
        await worker.report()
    finally:
        worker.kill()
        await served.restart_ended()
    state = worker.folder.read_state()
    assert (state.status, state.step) == ("stopped", EVERY)


async def test_run_of_two_processes_stops_while_one_waits_and_resumes(served, tmp_path) -> None:
    """Only the first process hears SIGTERM; the other one waits for it."""
    folder = RunFolder(tmp_path)
    processes = ("launch.processes=2", "optimizer.micro_batch=4", "optimizer.steps=2")
    config = settings(served.address(GENERATOR), *processes)
    folder.write_config(config.to_yaml())

    async def launch() -> asyncio.subprocess.Process:
        with folder.worker_log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *worker_command(config.launch, tmp_path),
                stdout=log,
                stderr=log,
                env=os.environ | {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "1"},
            )

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            assert launcher.returncode is None, folder.worker_log.read_text()[-3000:]
            await asyncio.sleep(0.05)

    launcher = await launch()
    try:
        async with asyncio.timeout(400):
            await until(lambda: folder.worker_log.read_text().count("generator at unix") == 2)
            await served.kill(GENERATOR)
            await until(lambda: folder.read_state().status == "waiting")
            os.kill(folder.read_state().pid, signal.SIGTERM)
            await launcher.wait()
            assert folder.read_state().status == "stopped"
            assert not folder.is_held()
            await served.restart_ended()
            launcher = await launch()
            assert await launcher.wait() == 0, folder.worker_log.read_text()[-3000:]
    finally:
        if launcher.returncode is None:
            launcher.terminate()  # it ends its processes
            await launcher.wait()
    assert folder.read_state().status == "done"
    assert [line["step"] for line in folder.read_metrics()] == [1, 2]
