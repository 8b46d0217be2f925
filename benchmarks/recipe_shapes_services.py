"""Part of `recipe_shapes`: a run through trainer, generator and executor, with the peak memory of each process."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import psutil
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_folder import RunFolder

from deepmath.clients.generator_client import GeneratorClient
from deepmath.local_stack.stack import LocalStack

GENERATOR = ("--dtype", "bfloat16", "--eager", "--context-length", "8192", "--max-batch", "16")
METRICS = "generate_seconds", "train_seconds", "step_seconds", "code_rate", "model_tokens", "grad_norm", "staleness"


async def through_services(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Train in `folder` on a generator of the same model; return memory, times, and the adapter that was sent."""
    run = RunFolder(folder)
    dialect = ("--dialect", config.dialect) if config.dialect else ()
    async with LocalStack(config.model, arguments={"generator": [*GENERATOR, *dialect]}, logs=folder) as stack:
        run.write_config(config.model_copy(update={"generators": [stack.generator]}).to_yaml())
        memory = {"generator_loaded_gib": peak_gib("deepmath_generator", "VLLM")}
        with run.worker_log.open("wb") as log:
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "deepmath_trainer.training_worker", folder), stdout=log, stderr=log
            )
        trainer = 0.0
        while worker.returncode is None:
            trainer = max(trainer, peak_gib("training_worker"))
            await asyncio.wait([asyncio.ensure_future(worker.wait())], timeout=0.5)
        if worker.returncode:
            raise SystemExit(f"the run failed:\n{run.worker_log.read_text()[-4000:]}")
        memory |= {"trainer_peak_gib": trainer, "generator_peak_gib": peak_gib("deepmath_generator", "VLLM")}
        async with GeneratorClient(stack.generator) as client:
            served = (await client.get_info()).policy_version
    return memory | {
        "adapter_bytes": (run.adapter / "adapter_model.safetensors").stat().st_size,
        "served_version": served,
        "steps": [{name: round(line["metrics"].get(name, 0), 2) for name in METRICS} for line in run.read_metrics()],
    }


def peak_gib(*names: str) -> float:
    """Return the sum of the largest resident sets of the children of this process whose commands contain a name."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            if any(name in " ".join(process.cmdline()) for name in names):
                status = Path(f"/proc/{process.pid}/status").read_text()
                total += int(status.split("VmHWM:")[1].split()[0])
        except (psutil.Error, OSError, IndexError):  # it has ended
            continue
    return round(total / 2**20, 2)
