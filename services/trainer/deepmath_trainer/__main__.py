"""`python -m deepmath_trainer --runs FOLDER`: the trainer service. It loads no model; the workers do."""

from deepmath.serving.sigterm_exit import exit_on_sigterm

if __name__ == "__main__":
    exit_on_sigterm()

import asyncio
import sys

from deepmath.errors import DeepMathError
from deepmath.observability.logs import report_error, set_up_service_logging
from deepmath.rpc.core_logging import silence_core_logging
from deepmath.serving.service_config import load
from deepmath.serving.service_process import observed, serve
from deepmath_trainer.config import TrainerServiceConfig


def main(arguments: list[str] | None = None) -> int:
    """Run the service until it is stopped; return its exit status."""
    silence_core_logging()
    settings = load(TrainerServiceConfig, "deepmath serve trainer", sys.argv[1:] if arguments is None else arguments)
    set_up_service_logging(settings.log_level, settings.log_format, "trainer")
    try:
        asyncio.run(_serve(settings))
    except DeepMathError as error:
        report_error(f"deepmath serve trainer: {error}")
        return 1
    return 0


async def _serve(settings: TrainerServiceConfig) -> None:
    from deepmath.clients.credentials import set_default_credentials
    from deepmath_trainer.metrics import RunMetrics
    from deepmath_trainer.run_registry import RunRegistry
    from deepmath_trainer.service import SERVICE_NAME, TrainerServicer

    set_default_credentials(settings.tls, settings.token_file)  # for the workers too
    runs = RunRegistry(settings.runs, settings.stop_seconds)
    servicer, metrics = TrainerServicer(runs), RunMetrics(runs)
    async with observed(settings, metrics):
        await serve(settings, {SERVICE_NAME: servicer.register}, drain=runs.stop_all, metrics=metrics)


if __name__ == "__main__":
    sys.exit(main())
