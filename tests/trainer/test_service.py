"""The trainer's contract, called on a service process."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder

from deepmath.clients import TrainerClient
from deepmath.errors import InvalidRequest, Unavailable, WrongOrder
from deepmath.local_stack.local_services import LocalServices
from deepmath.trainer.v1 import trainer_pb2 as pb

TINY = read_recipe("tiny-math")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
async def trainer(runs: Path) -> AsyncIterator[TrainerClient]:
    async with LocalServices() as local, TrainerClient(await local.start("trainer", "--runs", str(runs))) as client:
        yield client


@pytest.fixture
def folder(runs: Path, request) -> RunFolder:
    """A run with three steps, named after the test, which no service has seen yet."""
    folder = RunFolder(runs / request.node.name[:64].strip("_"))
    folder.path.mkdir()
    folder.write_config(parse_config(TINY).to_yaml())
    for step in (1, 2, 3):
        log_step(folder, step)
    folder.write_state(status="done", step=3, steps=3, policy_version=3)
    return folder


def log_step(folder: RunFolder, step: int) -> None:
    folder.append_metrics(step, {"reward": step / 10, "loss": math.nan})
    folder.append_trace({"step": step, "problem": "1 + 1", "gold": "2", "answer": "3", "reward": None, "text": "..."})


def content(update: pb.WatchRunResponse) -> str | int:
    return update.metrics.step if update.HasField("metrics") else str(update.WhichOneof("update"))


async def test_dry_run_returns_the_complete_configuration_and_writes_nothing(trainer, runs) -> None:
    answer = await trainer.start_run(recipe="tiny-math", overrides=["seed=3"], dry_run=True)
    assert parse_config(answer.run.config_yaml) == parse_config(TINY, ["seed=3"])
    assert answer.run.name == "tiny-math-3"
    assert answer.run.status == pb.STATUS_UNSPECIFIED
    assert not (runs / "tiny-math-3").exists()


async def test_dry_run_returns_the_requirements_for_generators(trainer) -> None:
    needs = (await trainer.start_run(config_yaml=TINY, overrides=["lora.rank=64"], dry_run=True)).needs
    assert (Path(needs.model).name, needs.lora_rank, list(needs.addresses)) == ("tiny-math", 64, [])


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"recipe": "tiny-mth"}, "did you mean `tiny-math`"),
        ({"recipe": "../recipes/tiny-math"}, "no recipe"),
        ({"recipe": "tiny-math", "overrides": ["optimizer.stps=3"]}, "did you mean `optimizer.steps`"),
        ({"config_yaml": "model: [", "overrides": []}, "not valid YAML"),
        ({}, "give a configuration or the name of a recipe"),
        ({"recipe": "tiny-math", "name": "../up"}, "not a valid name for a run"),
        ({"recipe": "tiny-math", "overrides": ["rollout.groups=7"]}, "cannot be divided"),
        ({"recipe": "tiny-math", "overrides": ["model=./no-such-model"]}, "no model at"),
        ({"recipe": "tiny-math", "overrides": ["data.limit=4"]}, "rollout.groups = 8"),
        ({"recipe": "tiny-math", "overrides": ["launch.accelerate=fsdb"]}, "launch.accelerate"),
        ({"recipe": "tiny-math", "overrides": ["report_to=[wandb]"]}, "pip install wandb"),
        ({"recipe": "tiny-math", "overrides": ["lora=null", "checkpoint_root=/nowhere"]}, "a folder that contains it"),
        ({"name": "x", "resume": True}, "there is no run 'x'"),
        ({"resume": True}, "name the run to resume"),
    ],
)
async def test_invalid_run_is_rejected_with_the_reason(trainer, request_: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest) as rejected:
        await trainer.start_run(**request_, dry_run=True)
    assert reason in str(rejected.value)
    assert "\n" not in str(rejected.value)


async def test_weights_below_the_root_of_the_generators_are_accepted(trainer, runs) -> None:
    overrides = ["lora=null", f"checkpoint_root={runs.parent}"]
    answer = await trainer.start_run(recipe="tiny-math", overrides=overrides, dry_run=True)
    assert answer.needs.checkpoint_root == str(runs.parent)


async def test_generator_that_is_not_ready_is_a_note(trainer, runs, free_port) -> None:
    overrides = [f"generators=['127.0.0.1:{free_port}']", "generator_patience_s=30"]
    answer = await trainer.start_run(recipe="tiny-math", overrides=overrides, name="no-generator", dry_run=True)
    (note,) = [note for note in answer.notes if "generator" in note]
    assert note.startswith(f"the generator at 127.0.0.1:{free_port} cannot be reached")
    assert note.endswith("the run waits for it, at most 30 s")
    assert not (runs / "no-generator").exists()


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model=Qwen/Qwen3-4B", "serves tiny-math, but the run trains Qwen/Qwen3-4B"),
        ("lora.rank=64", "accepts adapters up to rank 32; start it with --max-lora-rank 64"),
    ],
)
async def test_unsuitable_generator_is_rejected(trainer, generator_address, override: str, reason: str) -> None:
    overrides = [f"generators=['{generator_address}']", override]
    with pytest.raises(InvalidRequest, match=reason):
        await trainer.start_run(recipe="tiny-math", overrides=overrides)


async def test_run_without_a_generator_is_rejected_except_as_a_dry_run(trainer) -> None:
    with pytest.raises(InvalidRequest, match="generators"):
        await trainer.start_run(recipe="tiny-math")


async def test_name_that_is_taken_is_rejected_with_the_two_alternatives(trainer, folder) -> None:
    with pytest.raises(WrongOrder, match=r"--resume.*--name"):
        await trainer.start_run(recipe="tiny-math", name=folder.name, dry_run=True)


async def test_resume_with_another_adapter_is_rejected(trainer, folder) -> None:
    with pytest.raises(InvalidRequest, match="lora differs from that of the run"):
        await trainer.start_run(name=folder.name, resume=True, overrides=["lora.rank=8"], dry_run=True)


async def test_resume_uses_the_configuration_of_the_run(trainer, folder) -> None:
    folder.write_config(parse_config(TINY, ["optimizer.steps=7"]).to_yaml())
    answer = await trainer.start_run(name=folder.name, resume=True, dry_run=True)
    assert parse_config(answer.run.config_yaml).optimizer.steps == 7


async def test_resume_drops_a_generator_whose_socket_is_gone(trainer, folder, tmp_path) -> None:
    folder.write_config(parse_config(TINY, [f"generators=['unix:{tmp_path}/gone.sock']"]).to_yaml())
    answer = await trainer.start_run(name=folder.name, resume=True, dry_run=True)
    assert list(answer.needs.addresses) == []


async def test_running_run_is_not_resumed(trainer, folder) -> None:
    with folder.hold():
        folder.write_state(status="running")
        with pytest.raises(WrongOrder, match="already running"):
            await trainer.start_run(name=folder.name, resume=True, dry_run=True)
    folder.write_state(status="stopped")


async def test_run_is_returned_with_its_evaluations(trainer, folder) -> None:
    folder.write_evaluation({"before": {"problems": 4, "accuracy": 0.25, "model_tokens": 9.5}})
    run = await trainer.get_run(folder.name)
    assert (run.status, run.step, run.policy_version) == (pb.STATUS_DONE, 3, 3)
    assert run.before.accuracy == 0.25
    assert not run.HasField("after")
    assert parse_config(run.config_yaml) == parse_config(TINY)


async def test_unknown_run_is_rejected_with_the_nearest_name(trainer, folder) -> None:
    with pytest.raises(InvalidRequest, match=f"did you mean `{folder.name}`"):
        await trainer.get_run(folder.name + "x")


async def test_path_is_not_a_run_name(trainer, folder) -> None:
    with pytest.raises(InvalidRequest, match="there is no run"):
        await trainer.get_run(f"../{folder.path.parent.name}/{folder.name}")


async def test_latest_run_is_listed_first(trainer, folder) -> None:
    assert (await trainer.list_runs())[0].name == folder.name


async def test_watching_an_ended_run_streams_all_of_it_and_ends(trainer, folder) -> None:
    updates = [update async for update in trainer.watch_run(folder.name)]
    assert [content(update) for update in updates] == ["run", 1, "trace", 2, "trace", 3, "trace", "run"]
    assert updates[-1].run.status == pb.STATUS_DONE


async def test_non_finite_metric_is_nan_and_missing_reward_is_absent(trainer, folder) -> None:
    updates = [update async for update in trainer.watch_run(folder.name)]
    assert math.isnan(updates[1].metrics.metrics["loss"])
    assert not updates[2].trace.HasField("reward")


async def test_watching_from_a_step_omits_earlier_steps(trainer, folder) -> None:
    updates = [update async for update in trainer.watch_run(folder.name, from_step=3)]
    assert [content(update) for update in updates] == ["run", 3, "trace", "run"]


async def test_every_watcher_receives_updates_live(trainer, folder) -> None:
    seen: list[list[str | int]] = [[], []]
    third = [asyncio.Event(), asyncio.Event()]

    async def watch(at: int) -> None:
        async for update in trainer.watch_run(folder.name, from_step=3):
            seen[at].append(content(update))
            if content(update) == 3:
                third[at].set()

    with folder.hold():
        folder.write_state(status="running")
        watchers = [asyncio.create_task(watch(at)) for at in (0, 1)]
        await asyncio.gather(*(event.wait() for event in third))
        log_step(folder, 4)
        folder.write_state(status="done", step=4)
    await asyncio.gather(*watchers)
    for one in seen:
        assert [step for step in one if isinstance(step, int)] == [3, 4]
        assert one[-1] == "run"


async def test_watcher_of_a_worker_that_dies_sees_the_run_fail(trainer, folder) -> None:
    lock = folder.hold()
    folder.write_state(status="running")
    updates = []
    async for update in trainer.watch_run(folder.name):
        updates.append(update)
        lock.close()
    assert updates[-1].run.status == pb.STATUS_FAILED
    assert "--resume" in updates[-1].run.error


async def test_stopping_an_ended_run_leaves_it_unchanged(trainer, folder) -> None:
    before = folder.read_state()
    assert (await trainer.stop_run(folder.name)).status == pb.STATUS_DONE
    assert folder.read_state() == before


async def test_restarted_service_lists_all_runs(folder) -> None:
    async with (
        LocalServices() as local,
        TrainerClient(await local.start("trainer", "--runs", str(folder.path.parent))) as client,
    ):
        assert folder.name in [run.name for run in await client.list_runs()]


async def test_service_with_an_unwritable_folder_does_not_start(tmp_path) -> None:
    (tmp_path / "file").touch()
    async with LocalServices() as local:
        with pytest.raises(Unavailable, match="cannot write to"):
            await local.start("trainer", "--runs", str(tmp_path / "file" / "runs"))


async def test_waiting_run_says_for_what_it_waits(trainer, folder) -> None:
    with folder.hold():
        folder.write_state(status="waiting", waiting_for="the generator at g:1 is loading")
        run = await trainer.get_run(folder.name)
        assert (run.status, run.waiting_for) == (pb.STATUS_WAITING, "the generator at g:1 is loading")
        folder.write_state(status="running")
        assert (await trainer.get_run(folder.name)).waiting_for == ""
    folder.write_state(status="failed", error="serves other", misconfigured=True)
    assert (await trainer.get_run(folder.name)).misconfigured
