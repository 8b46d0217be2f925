"""Validation of a run before anything is loaded."""

import asyncio
from importlib.util import find_spec
from pathlib import Path

from deepmath.clients import GeneratorClient
from deepmath.clients.model_files import check_model
from deepmath.errors import Forbidden, InvalidRequest, Overloaded, TlsMismatch, Unauthenticated, Unavailable
from deepmath_trainer.generator_check import check_generator
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.worker_launch import worker_command


async def validate_run(config: TrainConfig) -> list[str]:
    """Validate the launch, the model's files, the data and the generators; return notes for the user.

    Raises:
        InvalidRequest: a setting or a generator does not fit, or a generator rejects the credentials; the message says
            what to do. A generator that is not ready is a note: the run waits for it.
    """
    worker_command(config.launch, Path())
    check_model(config.model_path)
    for tracker in config.report_to:
        if find_spec(tracker) is None:
            raise InvalidRequest(f"report_to: {tracker} is not installed; run `pip install {tracker}` or remove it")
    generators = await asyncio.gather(*(_check_generator(config, address) for address in config.generators))
    problems, contaminated = await asyncio.to_thread(_count, config)
    if problems < config.rollout.groups:
        raise InvalidRequest(
            f"data has {problems} problems, but a batch needs rollout.groups = {config.rollout.groups} different ones"
        )
    excluded = f" ({contaminated} excluded, which repeat a test problem)" if contaminated else ""
    return [
        f"{problems} problems{excluded}; "
        f"{config.rollout.groups} problems x {config.rollout.samples} samples per batch, "
        f"{config.batch // config.optimizer.updates} trajectories per update, "
        f"{_problems_seen(config)} problems in {config.optimizer.steps} updates",
        *(note for notes in generators for note in notes),
    ]


def _problems_seen(config: TrainConfig) -> int:
    return config.rollout.groups * -(-config.optimizer.steps // config.optimizer.updates)


def _count(config: TrainConfig) -> tuple[int, int]:
    """Return the number of training problems, and of those that are excluded. Loads the test problems too."""
    from deepmath_trainer.decontamination import load_training_set  # may import `datasets`, which takes seconds
    from deepmath_trainer.training_data import load_problems

    found = load_training_set(config)
    if config.evaluation.problems and not config.evaluation.decontaminate:
        load_problems(config.evaluation.data, seed=0, most=config.evaluation.problems)
    return len(found.problems), len(found.contaminated)


async def _check_generator(config: TrainConfig, address: str) -> list[str]:
    try:
        async with GeneratorClient(address) as client:
            info = await client.get_info()
        check_generator(config, address, info)
    except (TlsMismatch, Unauthenticated, Forbidden) as error:
        raise InvalidRequest(f"generators: {error}") from None
    except (Unavailable, Overloaded) as error:
        return [f"{error}; the run waits for it, at most {config.generator_patience_s:.0f} s"]
    if config.rollout.max_tokens >= info.context_length:
        return [f"rollout.max_tokens is {config.rollout.max_tokens}, but the context length is {info.context_length}"]
    return []
