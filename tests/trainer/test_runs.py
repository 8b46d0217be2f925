"""Runs and their workers: real worker processes, ended in all the ways that there are."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from deepmath_trainer.run_config import TrainConfig, load, read
from deepmath_trainer.run_folder import RunFolder, RunState
from deepmath_trainer.run_registry import RunRegistry
from deepmath_trainer.worker_launch import command

from deepmath.errors import DeepMathError, InvalidRequest, Unavailable, WrongOrder


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[RunRegistry]:
    runs = RunRegistry(tmp_path / "runs", stop_seconds=30)
    yield runs
    await runs.stop_all()


@pytest.fixture
def config(free_port: int) -> TrainConfig:
    """A run whose generator is away, so that its worker waits."""
    return load(read("tiny-math"), [f"generators=['127.0.0.1:{free_port}']"])


async def ended(runs: RunRegistry, folder: RunFolder) -> RunState:
    async with asyncio.timeout(120):
        while True:
            if (state := runs.state(folder)).ended:
                return state
            await asyncio.sleep(0.05)


async def test_run_stopped_while_it_loads_is_stopped(runs, config) -> None:
    folder = runs.free("young")
    await runs.start(folder, config)
    assert runs.state(folder).status == "starting"
    assert (await runs.stop(folder)).status == "stopped"
    assert not folder.is_held()


async def test_worker_killed_by_kill_9_leaves_a_failed_run_that_says_so(runs, config) -> None:
    folder = runs.free("killed")
    await runs.start(folder, config)
    os.kill(runs.worker_pid(folder), signal.SIGKILL)
    state = await ended(runs, folder)
    assert state.status == "failed"
    assert "SIGKILL" in state.error


@pytest.mark.slow
async def test_worker_that_cannot_work_leaves_its_reason_in_one_line(runs, config) -> None:
    folder = runs.free("spoiled")
    data = config.data.model_copy(update={"dataset": str(folder.path / "none.jsonl")})
    await runs.start(folder, config.model_copy(update={"data": data}))
    state = await ended(runs, folder)
    assert state.status == "failed"
    assert "none.jsonl" in state.error
    assert "\n" not in state.error


async def test_run_at_work_cannot_be_started_again(runs, config) -> None:
    folder = runs.free("twice")
    await runs.start(folder, config)
    with pytest.raises(WrongOrder, match="at work"):
        await runs.start(folder, config)


async def test_stopped_run_can_be_started_again(runs, config) -> None:
    folder = runs.free("again")
    await runs.start(folder, config)
    await runs.stop(folder)
    await runs.start(folder, config)
    assert runs.state(folder).status == "starting"


async def test_run_that_is_being_started_when_all_are_stopped_is_stopped_too(runs, config) -> None:
    folder = runs.free("late")
    starting = asyncio.create_task(runs.start(folder, config))
    await asyncio.sleep(0)
    assert not starting.done()
    await runs.stop_all()
    await starting
    assert runs.state(folder).status == "stopped"


async def test_no_run_is_started_once_all_are_stopped(runs, config) -> None:
    await runs.stop_all()
    with pytest.raises(Unavailable, match="about to end"):
        await runs.start(runs.free("too-late"), config)
    assert runs.all() == []


async def test_configuration_is_kept_whole(runs, config) -> None:
    folder = runs.free("kept")
    await runs.start(folder, config)
    assert load(folder.config.read_text()) == config


async def test_run_that_outlives_its_service_is_at_work_for_the_next_which_can_stop_it(runs, config, tmp_path) -> None:
    folder = runs.free("orphan")
    await runs.start(folder, config)
    folder.write_state(pid=runs.worker_pid(folder))  # as the worker does when it has loaded
    next_runs = RunRegistry(tmp_path / "runs", stop_seconds=30)
    assert next_runs.state(folder).status == "starting"
    assert (await next_runs.stop(folder)).ended
    assert not folder.is_held()


def test_run_whose_worker_is_gone_has_failed_when_the_service_starts_and_says_how_to_go_on(tmp_path) -> None:
    gone = RunFolder(tmp_path / "gone")
    gone.path.mkdir()
    gone.write_config("model: tiny-math\n")
    gone.write_state(status="running", step=7, pid=os.getpid())  # a process id that is in use again
    state = RunRegistry(tmp_path, stop_seconds=1).state(gone)
    assert (state.status, state.step) == ("failed", 7)
    assert "--resume --name gone" in state.error


def test_run_that_has_ended_is_left_as_it_is(tmp_path) -> None:
    done = RunFolder(tmp_path / "done")
    done.path.mkdir()
    done.write_config("model: tiny-math\n")
    before = done.write_state(status="done", step=9)
    assert RunRegistry(tmp_path, stop_seconds=1).state(done) == before


@pytest.mark.parametrize(
    ("overrides", "module"),
    [
        ([], "deepmath_trainer.training_worker"),
        (["launch.processes=2"], "torch.distributed.run"),
        (["launch.processes=2", "launch.cpu=false"], "accelerate.commands.launch"),
        (["launch.processes=2", "launch.cpu=false", f"launch.accelerate={__file__}"], "accelerate.commands.launch"),
    ],
)
def test_worker_is_launched_as_its_devices_need(overrides: list[str], module: str) -> None:
    line = command(load(read("tiny-math"), ["optimizer.micro_batch=32", *overrides]).launch, Path("run"))
    assert line[1:3] == ["-m", module]
    assert line[-3:] == ["-m", "deepmath_trainer.training_worker", "run"]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "-x", "a/b", "../up", "/abs", "a b", "a\nb", "ü", "a" * 65])
def test_name_that_is_no_plain_folder_name_is_refused(runs, name: str) -> None:
    with pytest.raises(InvalidRequest, match="no name for a run"):
        runs.free(name)


def test_fresh_name_of_a_hub_model_is_a_folder_name(runs) -> None:
    assert runs.fresh("../Qwen/Qwen3-4B 0").name == "Qwen-Qwen3-4B-0"


async def test_fresh_name_is_numbered_where_it_is_taken(runs, config) -> None:
    await runs.start(runs.fresh("tiny-0"), config)
    assert runs.fresh("tiny-0").name == "tiny-0-2"


def test_folder_that_cannot_be_written_to_is_told_at_the_start(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeepMathError, match="cannot write to"):
        RunRegistry(tmp_path / "file" / "runs", stop_seconds=1)
