"""A run that is killed goes on as if it had not been; what had been sampled is not sampled again."""

import asyncio
import json
import resource
from pathlib import Path

import pytest
import torch
from deepmath_generator.service import GeneratorServicer
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.trajectory_journal import TrajectoryJournal
from safetensors.torch import load_file

from .conftest import SECRET, small

pytestmark = pytest.mark.slow
STEPS = 5
SETTINGS = (f"optimizer.steps={STEPS}", "checkpoint.every=2", "checkpoint.keep=9", "traces=2")
# What a clock measures is another each time.
CLOCKS = ("seconds", "idle", "per_s")


def metrics(folder: RunFolder, step: int) -> dict[str, float]:
    (found,) = (line["metrics"] for line in folder.read_metrics() if line["step"] == step)
    return {name: value for name, value in found.items() if not name.endswith(CLOCKS)}


def problems(folder: RunFolder) -> list[tuple[int, str]]:
    return [(trace["step"], trace["problem"]) for trace in map(json.loads, folder.traces.read_text().splitlines())]


def state(checkpoint: Path) -> dict[str, object]:
    """All that a run goes on with."""
    return {
        "adapter": load_file(checkpoint / "adapter_model.safetensors"),
        "optimizer": torch.load(checkpoint / "optimizer.pt")["state"],
        "schedule": torch.load(checkpoint / "scheduler.pt"),
        "random": torch.load(checkpoint / "rng_state.pth", weights_only=False)["cpu"],
    }


def assert_same(one: object, other: object) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


async def test_killed_run_goes_on_as_if_it_had_not_been(serve_generator, worker, tmp_path) -> None:
    async with serve_generator() as served:
        unkilled = await worker(tmp_path / "unkilled", small(served.address, *SETTINGS))
        assert await unkilled.ended() == "done"
    async with serve_generator() as served:
        killed = await worker(tmp_path / "killed", small(served.address, *SETTINGS))
        await killed.until_step(3)
        before = metrics(killed.folder, 3)
        killed.kill()
        await killed.process.wait()
        again = await worker(tmp_path / "killed", small(served.address, *SETTINGS))
        assert await again.ended() == "done"
    # Step 3, after the last checkpoint, was taken again, on what the journal had of it: to the same numbers.
    assert metrics(again.folder, 3) == before
    checkpoints = [folder / "checkpoints" / "checkpoint-4" for folder in (unkilled.folder.path, again.folder.path)]
    one, other = map(state, checkpoints)
    for part in ("schedule", "random"):
        assert_same(one[part], other[part])
    assert problems(unkilled.folder) == problems(again.folder)
    # The same seeds draw the same samples, as long as the engine's batches leave the arithmetic the same.
    if metrics(unkilled.folder, 4) == metrics(again.folder, 4):
        assert_same(one, other)


async def test_completed_trajectories_are_not_asked_for_again(serve_generator, worker, tmp_path) -> None:
    asked: list[str] = []

    class RecordingServicer(GeneratorServicer):
        async def Rollout(self, request, context):  # noqa: N802
            asked.extend(f"{prompt.id} {prompt.seed}" for prompt in request.prompts)
            async for response in super().Rollout(request, context):
                yield response

    async with serve_generator(servicer=RecordingServicer) as served:
        settings = small(served.address, "optimizer.steps=2", "checkpoint.every=9")
        run = await worker(tmp_path / "run", settings)
        await run.until_step(1)
        run.kill()
        await run.process.wait()
        journal = TrajectoryJournal(tmp_path / "run" / "journal" / "0")
        ended = {batch: set(journal.open(batch, offset=0).found) for batch in (0, 1)}
        before, asked[:] = list(asked), []
        assert await (await worker(tmp_path / "run", settings)).ended() == "done"
    assert len(ended[0]) == 8
    assert len(before) == 16
    assert len(asked) == 8 - len(ended[1])
    assert set(asked) <= set(before), "another seed"


async def test_sigterm_leaves_a_checkpoint_to_go_on_from(fresh_generator, worker, tmp_path) -> None:
    settings = small(fresh_generator, "optimizer.steps=4", "checkpoint.every=9")
    run = await worker(tmp_path / "run", settings)
    await run.until_step(1)
    run.process.terminate()
    assert await run.ended() == "stopped"
    stopped_at = run.folder.read_state().step
    assert (run.folder.checkpoints / f"checkpoint-{stopped_at}").is_dir()
    again = await worker(tmp_path / "run", settings)
    assert await again.ended() == "done"
    assert [line["step"] for line in again.folder.read_metrics()] == [1, 2, 3, 4]
    files = [path for path in again.folder.path.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()], "a secret of the environment is kept"


async def test_full_disk_at_a_checkpoint_leaves_the_one_before(fresh_generator, worker, tmp_path) -> None:
    """From the first checkpoint on a file may have 2.5 MB: enough for an adapter, not for the optimizer's state."""
    run = await worker(tmp_path / "run", small(fresh_generator, "optimizer.steps=6", "checkpoint.every=2"))
    first = run.folder.checkpoints / "checkpoint-2"
    async with asyncio.timeout(240):
        while not first.is_dir():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (2_500_000, resource.RLIM_INFINITY))
    assert await run.ended() == "failed"
    reason = run.folder.read_state().error
    assert "the checkpoint of step 4 could not be written" in reason
    assert "make room and resume" in reason
    assert state(first)
    assert not list(run.folder.checkpoints.glob("checkpoint-[4-9]"))
