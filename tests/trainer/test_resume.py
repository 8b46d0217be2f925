"""A killed run resumes with the same result, and without sampling again what it had sampled."""

import asyncio
import json
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.trajectory_journal import TrajectoryJournal

from .conftest import SECRET, small

pytestmark = pytest.mark.slow
STEPS = 5
SETTINGS = (f"optimizer.steps={STEPS}", "checkpoint.every=2", "checkpoint.keep=9", "traces=2", "report_to=[]")
CHECKPOINT, KILLED_AFTER = 2, 3  # steps
BATCH = 8  # trajectories
# Measurements of time differ between runs.
CLOCKS = ("seconds", "idle", "per_s")


@dataclass
class KilledRun:
    """A run that was killed after a step without a checkpoint, and resumed."""

    folder: RunFolder
    metrics_when_killed: dict[str, float]
    """Of step `KILLED_AFTER`."""
    journalled: dict[int, set[str]]
    """When it was killed: batch -> ids of the trajectories in the journal."""
    requested_before: list[str]
    requested_after: list[str]
    """Id and seed of each prompt, before and after the kill."""


@pytest.fixture(scope="module")
async def killed_run(serve_generator, worker, tmp_path_factory) -> KilledRun:
    from deepmath_generator.service import GeneratorServicer

    requested: list[str] = []

    class RecordingServicer(GeneratorServicer):
        async def Rollout(self, request, context):  # noqa: N802
            requested.extend(f"{prompt.id} {prompt.seed}" for prompt in request.prompts)
            async for response in super().Rollout(request, context):
                yield response

    path = tmp_path_factory.mktemp("killed") / "run"
    async with serve_generator(servicer=RecordingServicer) as served:
        settings = small(served.address, *SETTINGS)
        run = await worker(path, settings)
        await run.until_step(KILLED_AFTER)
        before = metrics(run.folder, KILLED_AFTER)
        await run.kill()
        journalled = {batch: journalled_ids(path, batch) for batch in range(STEPS)}
        requested_before = list(requested)
        requested.clear()
        assert await (await worker(path, settings)).ended() == "done"
    return KilledRun(run.folder, before, journalled, requested_before, requested)


def journalled_ids(run: Path, batch: int) -> set[str]:
    journal = TrajectoryJournal(run / "journal" / "0").open(batch)
    journal.close()
    return set(journal.found)


def metrics(folder: RunFolder, step: int) -> dict[str, float]:
    (found,) = (line["metrics"] for line in folder.read_metrics() if line["step"] == step)
    return {name: value for name, value in found.items() if not name.endswith(CLOCKS)}


def problems(folder: RunFolder) -> list[tuple[int, str]]:
    return [(trace["step"], trace["problem"]) for trace in map(json.loads, folder.traces.read_text().splitlines())]


def state(checkpoint: Path) -> dict[str, object]:
    """Return everything that a run resumes from."""
    import torch
    from safetensors.torch import load_file

    return {
        "adapter": load_file(checkpoint / "adapter_model.safetensors"),
        "optimizer": torch.load(checkpoint / "optimizer.pt")["state"],
        "schedule": torch.load(checkpoint / "scheduler.pt"),
        "random": torch.load(checkpoint / "rng_state.pth", weights_only=False)["cpu"],
    }


def assert_same(one: Any, other: Any) -> None:
    import torch

    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


async def test_killed_run_resumes_as_if_it_had_not_been_killed(killed_run, serve_generator, worker, tmp_path) -> None:
    async with serve_generator() as served:
        unkilled = await worker(tmp_path / "unkilled", small(served.address, *SETTINGS))
        assert await unkilled.ended() == "done"
    # Step 3, after the last checkpoint, was repeated on the journal's trajectories, with the same result.
    assert metrics(killed_run.folder, KILLED_AFTER) == killed_run.metrics_when_killed
    checkpoints = [folder.checkpoints / "checkpoint-4" for folder in (unkilled.folder, killed_run.folder)]
    assert_same(*map(state, checkpoints))
    assert problems(unkilled.folder) == problems(killed_run.folder)
    # The same seeds draw the same samples, whatever the engine batches them with.
    for step in range(1, STEPS + 1):
        assert metrics(unkilled.folder, step) == metrics(killed_run.folder, step)


async def test_completed_trajectories_are_not_requested_again(killed_run) -> None:
    kept = range(CHECKPOINT, STEPS)  # batches that the checkpoint does not cover
    assert len(killed_run.journalled[CHECKPOINT]) == BATCH, "the batch that was trained on before the kill"
    assert not any(killed_run.journalled[batch] for batch in range(CHECKPOINT))
    missing = sum(BATCH - len(killed_run.journalled[batch]) for batch in kept)
    assert len(killed_run.requested_after) == missing
    again = set(killed_run.requested_after) & set(killed_run.requested_before)
    in_flight = len(killed_run.requested_before) - sum(map(len, killed_run.journalled.values())) - CHECKPOINT * BATCH
    assert len(again) == in_flight, "requested again with another seed, or although completed"


async def test_sigterm_leaves_a_checkpoint_to_resume_from(fresh_generator, worker, tmp_path) -> None:
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


async def test_full_disk_at_a_checkpoint_leaves_the_previous_one(fresh_generator, worker, tmp_path) -> None:
    """From the first checkpoint on a file may have 2.5 MB: enough for an adapter, not for the optimizer's state."""
    settings = ("optimizer.steps=6", "checkpoint.every=2", "report_to=[]")
    run = await worker(tmp_path / "run", small(fresh_generator, *settings))
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
