"""Validation of a run before anything is loaded."""

import asyncio
from importlib.util import find_spec
from pathlib import Path

from deepmath.clients import GeneratorClient
from deepmath.clients.model_files import check_model
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_trainer.run_config import DataConfig, TrainConfig
from deepmath_trainer.worker_launch import worker_command


async def validate_run(config: TrainConfig) -> list[str]:
    """Validate the launch, the model's files, the data and the generators; return notes for the user.

    Raises:
        InvalidRequest: a setting does not fit, or a generator cannot be reached; the message says what to do.
    """
    worker_command(config.launch, Path())
    check_model(config.model_path)
    for tracker in config.report_to:
        if find_spec(tracker) is None:
            raise InvalidRequest(f"report_to: {tracker} is not installed; run `pip install {tracker}` or remove it")
    generators = await asyncio.gather(*(_check_generator(config, address) for address in config.generators))
    problems = await asyncio.to_thread(_count, config.data, config.seed)
    if problems < config.rollout.groups:
        raise InvalidRequest(
            f"data has {problems} problems, but a batch needs rollout.groups = {config.rollout.groups} different ones"
        )
    if config.evaluation.problems:
        await asyncio.to_thread(_count, config.evaluation.data, config.seed)
    return [
        f"{problems} problems; {config.rollout.groups} problems x {config.rollout.samples} samples per batch, "
        f"{config.batch // config.optimizer.updates} trajectories per update, "
        f"{_problems_seen(config)} problems in {config.optimizer.steps} updates",
        *(note for notes in generators for note in notes),
    ]


def _problems_seen(config: TrainConfig) -> int:
    return config.rollout.groups * -(-config.optimizer.steps // config.optimizer.updates)


def _count(config: DataConfig, seed: int) -> int:
    from deepmath_trainer.training_data import load_problems  # may import `datasets`, which takes seconds

    return len(load_problems(config, seed))


async def _check_generator(config: TrainConfig, address: str) -> list[str]:
    try:
        async with GeneratorClient(address) as client:
            info = await client.get_info()
    except Unavailable as error:
        raise InvalidRequest(f"generators: {error}") from None
    served, trained = info.model, config.model_path
    if Path(served).name != Path(trained).name:
        raise InvalidRequest(
            f"the generator at {address} serves {served}, but the run trains {config.model}; "
            f"start it with --model {trained}"
        )
    if config.lora:
        _check_rank(config.lora.rank, address, info)
    if config.rollout.max_tokens >= info.context_length:
        return [f"rollout.max_tokens is {config.rollout.max_tokens}, but the context length is {info.context_length}"]
    return []


def _check_rank(rank: int, address: str, info: pb.GetInfoResponse) -> None:
    if rank > info.max_lora_rank:
        raise InvalidRequest(
            f"lora.rank is {rank}, but the generator at {address} accepts adapters up to rank {info.max_lora_rank}; "
            f"start it with --max-lora-rank {rank}"
        )
