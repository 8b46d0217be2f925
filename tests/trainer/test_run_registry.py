"""Runs and their workers: real worker processes that end in every possible way."""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path

import pytest
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_registry import RunRegistry
from deepmath_trainer.run_state import RunState
from deepmath_trainer.worker_launch import worker_command

from deepmath.errors import DeepMathError, InvalidRequest, Unavailable, WrongOrder


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[RunRegistry]:
    runs = RunRegistry(tmp_path / "runs", stop_seconds=30)
    yield runs
    await runs.stop_all()


@pytest.fixture
def config(free_port: int) -> TrainConfig:
    """A run whose generator is unreachable, so that its worker waits."""
    return parse_config(read_recipe("tiny-math"), [f"generators=['127.0.0.1:{free_port}']"])


async def ended(runs: RunRegistry, folder: RunFolder) -> RunState:
    async with asyncio.timeout(120):
        while True:
            if (state := runs.state(folder)).ended:
                return state
            await asyncio.sleep(0.05)


async def test_run_stopped_during_startup_is_stopped(runs, config) -> None:
    folder = runs.new("young")
    await runs.start(folder, config)
    assert runs.state(folder).status == "starting"
    assert (await runs.stop(folder)).status == "stopped"
    assert not folder.is_held()


async def test_worker_killed_with_sigkill_leaves_a_failed_run_with_that_reason(runs, config) -> None:
    folder = runs.new("killed")
    await runs.start(folder, config)
    os.kill(runs.worker_pid(folder), signal.SIGKILL)
    state = await ended(runs, folder)
    assert state.status == "failed"
    assert "SIGKILL" in state.error


@pytest.mark.slow
async def test_worker_that_fails_leaves_its_reason_in_one_line(runs, config) -> None:
    folder = runs.new("failing")
    data = config.data.model_copy(update={"dataset": str(folder.path / "none.jsonl")})
    await runs.start(folder, config.model_copy(update={"data": data}))
    state = await ended(runs, folder)
    assert state.status == "failed"
    assert "none.jsonl" in state.error
    assert "\n" not in state.error


async def test_running_run_cannot_be_started_again(runs, config) -> None:
    folder = runs.new("twice")
    await runs.start(folder, config)
    with pytest.raises(WrongOrder, match="already running"):
        await runs.start(folder, config)


async def test_stopped_run_can_be_started_again(runs, config) -> None:
    folder = runs.new("again")
    await runs.start(folder, config)
    await runs.stop(folder)
    await runs.start(folder, config)
    assert runs.state(folder).status == "starting"


async def test_run_that_starts_while_all_are_stopped_is_stopped_too(runs, config) -> None:
    folder = runs.new("late")
    starting = asyncio.create_task(runs.start(folder, config))
    await asyncio.sleep(0)
    assert not starting.done()
    await runs.stop_all()
    await starting
    assert runs.state(folder).status == "stopped"


async def test_no_run_starts_after_all_are_stopped(runs, config) -> None:
    await runs.stop_all()
    with pytest.raises(Unavailable, match="shutting down"):
        await runs.start(runs.new("too-late"), config)
    assert runs.all() == []


async def test_configuration_is_written_completely(runs, config) -> None:
    folder = runs.new("kept")
    await runs.start(folder, config)
    assert parse_config(folder.config.read_text()) == config


async def test_run_that_outlives_its_service_can_be_stopped_by_the_next_one(runs, config, tmp_path) -> None:
    folder = runs.new("orphan")
    await runs.start(folder, config)
    folder.write_state(pid=runs.worker_pid(folder))  # as the worker does when it has loaded
    next_runs = RunRegistry(tmp_path / "runs", stop_seconds=30)
    assert next_runs.state(folder).status == "starting"
    assert (await next_runs.stop(folder)).ended
    assert not folder.is_held()


def test_run_whose_worker_has_died_has_failed_when_the_service_starts_and_says_how_to_resume(tmp_path) -> None:
    gone = RunFolder(tmp_path / "gone")
    gone.path.mkdir()
    gone.write_config("model: tiny-math\n")
    gone.write_state(status="running", step=7, pid=os.getpid())  # a process id that is in use again
    state = RunRegistry(tmp_path, stop_seconds=1).state(gone)
    assert (state.status, state.step) == ("failed", 7)
    assert "--resume --name gone" in state.error


def test_ended_run_is_unchanged(tmp_path) -> None:
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
def test_worker_is_launched_as_its_devices_require(overrides: list[str], module: str) -> None:
    line = worker_command(
        parse_config(read_recipe("tiny-math"), ["optimizer.micro_batch=32", *overrides]).launch, Path("run")
    )
    worker = [sys.executable, "-P", "-m", "deepmath_trainer.training_worker", "run"]
    assert line[1:4] == ["-P", "-m", module]
    assert line[-5:] == worker
    if module == "torch.distributed.run":
        launched = import_module(module).get_args_parser().parse_args(line[4:])
    elif module == "accelerate.commands.launch":
        launched = import_module(module).launch_command_parser().parse_args(line[4:])
    else:
        return
    assert launched.no_python
    assert [launched.training_script, *launched.training_script_args] == worker


@pytest.mark.parametrize("name", ["", "..", ".hidden", "-x", "a/b", "../up", "/abs", "a b", "a\nb", "ü", "a" * 65])
def test_name_that_is_not_a_plain_folder_name_is_rejected(runs, name: str) -> None:
    with pytest.raises(InvalidRequest, match="not a valid name for a run"):
        runs.new(name)


def test_numbered_name_of_a_hub_model_is_a_folder_name(runs) -> None:
    assert runs.new_numbered("../Qwen/Qwen3-4B 0").name == "Qwen-Qwen3-4B-0"


async def test_name_that_is_taken_gets_a_number(runs, config) -> None:
    await runs.start(runs.new_numbered("tiny-0"), config)
    assert runs.new_numbered("tiny-0").name == "tiny-0-2"


@pytest.mark.parametrize("files", [(), (".lock",), (".lock", "config.yaml", ".state.json.new")])
def test_start_that_was_killed_before_the_run_had_a_state_can_be_repeated(runs, tmp_path, files) -> None:
    path = tmp_path / "runs" / "cut"
    path.mkdir()
    for name in files:
        (path / name).touch()
    assert runs.new("cut").path == path
    assert runs.new_numbered("cut").name == "cut"
    (path / "state.json").write_text("{}")
    with pytest.raises(WrongOrder, match="resume it with --resume"):
        runs.new("cut")


def test_folder_with_files_of_somebody_else_is_taken(runs, tmp_path) -> None:
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / "todo.txt").touch()
    (tmp_path / "runs" / "file").touch()
    for name in ("notes", "file"):
        with pytest.raises(WrongOrder):
            runs.new(name)
        assert runs.new_numbered(name).name == f"{name}-2"


def test_folder_that_is_not_writable_is_reported_at_startup(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeepMathError, match="cannot write to"):
        RunRegistry(tmp_path / "file" / "runs", stop_seconds=1)


def test_full_disk_hides_no_state(runs, monkeypatch) -> None:
    folder = runs.new("full")
    folder.path.mkdir()
    folder.config.touch()
    folder.write_state(status="waiting", waiting_for="a generator")

    def write(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(RunFolder, "write_state", write)
        state = runs.state(folder)
    assert (state.status, state.waiting_for) == ("failed", "")
    assert state.error.startswith("interrupted; resume with")
    assert folder.read_state().status == "waiting"
    assert runs.state(folder) == folder.read_state()
    assert folder.read_state().status == "failed"


def test_run_without_a_configuration_is_none(runs) -> None:
    """One that is being copied or deleted."""
    folder = runs.new("partial")
    folder.path.mkdir()
    folder.write_state(status="done")
    assert runs.all() == []
    folder.config.touch()
    assert [run.name for run in runs.all()] == ["partial"]
