"""What the trainer service can be told. What a run can be told is in `config`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from deepmath.serving.service_config import ServiceConfig


class TrainerServiceConfig(ServiceConfig):
    """Runs of GRPO, each a worker process and a folder."""

    model_config = SettingsConfigDict(env_prefix="DEEPMATH_TRAINER_")

    runs: Path = Field(Path("runs"), description="Folder of the runs.")
    stop_seconds: float = Field(
        120.0, gt=0, description="Time for a run to write its checkpoint when it is stopped; then it is killed."
    )
