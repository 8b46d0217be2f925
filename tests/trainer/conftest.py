"""Training runs, in this process or in a worker's, on generators around the engine that all tests share."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder

SECRET = "hunter2-of-the-trainer"
# Two problems, four samples each: the smallest batch that still has advantages.
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
EXACT = "launch.dtype=float32"
"""For comparisons with the generator's values or TRL's: in bfloat16 they differ from the third digit."""


@pytest.fixture
async def generator_without_executor(serve_generator) -> AsyncIterator[str]:
    """The address of a generator on which every trajectory that calls Python fails."""
    async with serve_generator(executor=None) as served:
        yield served.address


def small(generator: str, *overrides: str) -> TrainConfig:
    """Return the configuration of a small run."""
    return parse_config(read_recipe("tiny-math"), [*SMALL, f"generators=['{generator}']", *overrides])


@dataclass
class RecordedRun:
    """A training in this process, and the inputs of its loss."""

    trainer: Any
    folder: RunFolder
    losses: list[dict[str, Any]] = field(default_factory=list)
    """The tensors of each call of the loss."""
    batches: list[Any] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)


@asynccontextmanager
async def trained_in_process(config: TrainConfig, path: Path) -> AsyncIterator[RecordedRun]:
    """Train in this process; the trainer can be used until the block ends."""
    from deepmath_trainer.grpo_trainer import GrpoTrainer
    from deepmath_trainer.training_worker import TrainingWorker

    recorded = RecordedRun(None, RunFolder(path))

    def on_step(_step: int, metrics: dict[str, float], batch: Any) -> None:
        recorded.metrics.append(metrics)
        recorded.batches.append(batch)

    class RecordingTrainer(GrpoTrainer):
        def _compute_loss(self, model, inputs):
            recorded.losses.append({name: value.clone() for name, value in inputs.items()})
            return super()._compute_loss(model, inputs)

    path.mkdir()  # noqa: ASYNC240
    pipeline = TrainingWorker(recorded.folder, config, 0).make_pipeline()

    def train() -> None:
        pipeline.start(0)
        recorded.trainer = RecordingTrainer(config, recorded.folder, pipeline, on_step)
        recorded.trainer.run(None)

    try:
        await asyncio.to_thread(train)
        yield recorded
    finally:
        await asyncio.to_thread(pipeline.close)


@dataclass
class RunningWorker:
    """A run in a worker process."""

    folder: RunFolder
    process: asyncio.subprocess.Process

    async def until_step(self, step: int) -> None:
        """Wait until optimizer step `step` is complete."""
        async with asyncio.timeout(240):
            while self.folder.read_state().step < step:
                assert self.process.returncode is None, self.folder.worker_log.read_text()[-3000:]
                await asyncio.sleep(0.02)

    async def ended(self) -> str:
        """Wait for the end of the process and return the run's status."""
        async with asyncio.timeout(240):
            await self.process.wait()
        return self.folder.read_state().status

    async def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@pytest.fixture(scope="module")
async def worker() -> AsyncIterator[Callable[[Path, TrainConfig], Awaitable[RunningWorker]]]:
    """Starts or resumes a run: `await worker(folder, config)`."""
    processes = []

    async def start(path: Path, config: TrainConfig) -> RunningWorker:
        folder = RunFolder(path)
        path.mkdir(exist_ok=True)  # noqa: ASYNC240
        folder.write_config(config.to_yaml())
        with folder.worker_log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "deepmath_trainer.training_worker", str(path)),
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
