"""Training for real: runs on generators around the engine that all tests share."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from deepmath_trainer.run_config import TrainConfig, load, read
from deepmath_trainer.run_folder import RunFolder

# Two problems, four times each: as small as a batch can be that still has something to learn from.
SECRET = "hunter2-of-the-trainer"
SMALL = (
    "rollout.groups=2",
    "rollout.samples=4",
    "rollout.max_tokens=160",
    "optimizer.micro_batch=8",
    "optimizer.warmup=0",
    "evaluation.problems=0",
    "data.limit=64",
    "launch.threads=1",
)


@pytest.fixture
async def generator_without_executor(serve_generator) -> AsyncIterator[str]:
    """The address of one that fails with every trajectory that calls Python."""
    async with serve_generator(executor=None) as served:
        yield served.address


def small(generator: str, *overrides: str) -> TrainConfig:
    return load(read("tiny-math"), [*SMALL, f"generators=['{generator}']", *overrides])


@dataclass
class Recorded:
    """A training in this process, and what its loss got."""

    trainer: Any
    folder: RunFolder
    losses: list[dict[str, Any]] = field(default_factory=list)
    """The tensors of each call of the loss."""
    batches: list[Any] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)


@pytest.fixture
async def train(fresh_generator: str, tmp_path: Path) -> AsyncIterator[Callable]:
    """Trains in this process: `await train("optimizer.steps=2", ...)` returns what was recorded."""
    pipelines = []

    async def run(*overrides: str) -> Recorded:
        from deepmath_trainer.grpo_trainer import GrpoTrainer
        from deepmath_trainer.training_worker import TrainingWorker

        config = small(fresh_generator, *overrides)
        folder = RunFolder(tmp_path / "run")
        folder.path.mkdir()
        pipeline = TrainingWorker(folder, config, 0).pipeline()
        pipelines.append(pipeline)

        def work() -> Recorded:
            pipeline.start(0)
            recorded = Recorded(None, folder)

            def on_step(step, metrics, batch) -> None:
                recorded.metrics.append(metrics)
                recorded.batches.append(batch)

            class RecordingTrainer(GrpoTrainer):
                def _compute_loss(self, model, inputs):
                    recorded.losses.append({name: value.clone() for name, value in inputs.items()})
                    return super()._compute_loss(model, inputs)

            recorded.trainer = RecordingTrainer(config, folder, pipeline, on_step)
            recorded.trainer.go(None)
            return recorded

        return await asyncio.to_thread(work)

    yield run
    for pipeline in pipelines:
        await asyncio.to_thread(pipeline.close)


@dataclass
class RunningWorker:
    """A run in a process of its own."""

    folder: RunFolder
    process: asyncio.subprocess.Process

    async def until_step(self, step: int) -> None:
        async with asyncio.timeout(240):
            while self.folder.read_state().step < step:
                assert self.process.returncode is None, self.folder.worker_log.read_text()[-3000:]
                await asyncio.sleep(0.02)

    async def ended(self) -> str:
        async with asyncio.timeout(240):
            await self.process.wait()
        return self.folder.read_state().status

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)


@pytest.fixture
async def worker() -> AsyncIterator[Callable]:
    """Starts or goes on with a run: `await worker(folder, config)`."""
    processes = []

    async def start(path: Path, config: TrainConfig) -> RunningWorker:
        folder = RunFolder(path)
        path.mkdir(exist_ok=True)  # noqa: ASYNC240
        folder.write_config(config.to_yaml())
        with folder.worker_log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "deepmath_trainer.training_worker", str(path)),
                stdout=log,
                stderr=log,
                env=os.environ | {"HF_TOKEN": SECRET, "WANDB_API_KEY": SECRET, "A_SECRET": SECRET},
            )
        processes.append(process)
        return RunningWorker(folder, process)

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.wait()
