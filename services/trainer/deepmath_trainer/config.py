"""Settings of the trainer service. Those of a run are in `run_config`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.path_settings import PathSetting


class TrainerServiceConfig(GrpcServiceConfig):
    """Trains models with GRPO. Each run has a worker process and a folder."""

    model_config = SettingsConfigDict(env_prefix="DEEPMATH_TRAINER_")

    runs: PathSetting = Field(Path("runs"), description="Folder of the runs.")
    stop_seconds: float = Field(
        120.0, gt=0, description="Time for a stopped run to write its checkpoint, in seconds; then it is killed."
    )
