"""The check whether a generator can serve a run: its model, the adapters that it accepts, its executors."""

from pathlib import Path

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_trainer.run_config import TrainConfig


def check_generator(config: TrainConfig, address: str, info: pb.GetInfoResponse) -> None:
    """Check the generator at `address`, which has answered with `info`.

    Raises:
        InvalidRequest: it does not fit the run; the message says what to do.
        Unavailable: it is not ready, because it cannot reach an executor.
    """
    served, trained = info.model, config.model_path
    if Path(served).name != Path(trained).name:
        raise InvalidRequest(
            f"the generator at {address} serves {served}, but the run trains {config.model}; "
            f"start it with --model {trained}"
        )
    if config.dialect and info.dialect != config.dialect:
        raise InvalidRequest(
            f"dialect is {config.dialect}, but that of the generator at {address} is {info.dialect or 'unknown'}; "
            f"start it with --dialect {config.dialect}"
        )
    if config.lora and config.lora.rank > info.max_lora_rank:
        raise InvalidRequest(
            f"lora.rank is {config.lora.rank}, but the generator at {address} accepts adapters up to rank "
            f"{info.max_lora_rank}; start it with --max-lora-rank {config.lora.rank}"
        )
    if info.executor_failure and config.rollout.mode == "agent":
        raise Unavailable(f"the generator at {address} has no executor: {info.executor_failure}")
