"""Command line of the generator service: `python -m deepmath_generator --model DIRECTORY --executor ADDRESS`."""

from deepmath.serving.sigterm_exit import exit_on_sigterm

if __name__ == "__main__":
    exit_on_sigterm()

import asyncio
import gc
import sys

from deepmath.clients.model_files import check_adapter, check_model
from deepmath.errors import DeepMathError
from deepmath.observability.logs import report_error, set_up_service_logging
from deepmath.rpc.core_logging import silence_core_logging
from deepmath.serving.service_config import load
from deepmath.serving.service_process import observed, serve
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.temporary_folder import private_temporary_folder
from deepmath_generator.vllm_environment import set_vllm_environment


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM and return the exit status."""
    silence_core_logging()
    config = load(GeneratorConfig, "deepmath serve generator", sys.argv[1:] if arguments is None else arguments)
    set_up_service_logging(config.log_level, config.log_format, "generator")
    set_vllm_environment(config)
    try:
        check_model(config.model)
        if config.adapter:
            check_adapter(config.adapter)
        with private_temporary_folder():
            asyncio.run(_serve(config))
    except DeepMathError as error:
        report_error(f"deepmath serve generator: {error}")
        return 1
    return 0


async def _serve(config: GeneratorConfig) -> None:
    metrics = GeneratorMetrics()
    async with observed(config, metrics):
        await _serve_model(config, metrics)


async def _serve_model(config: GeneratorConfig, metrics: GeneratorMetrics) -> None:
    from deepmath.clients import ExecutorClient
    from deepmath.clients.credentials import set_default_credentials
    from deepmath_generator.prompt_template import PromptTemplate
    from deepmath_generator.service import SERVICE_NAME, GeneratorServicer
    from deepmath_generator.vllm_engine import VllmEngine  # imports vLLM, which takes seconds

    set_default_credentials(config.tls, config.token_file)
    template = PromptTemplate.load(config.model, config.prompt)
    client = ExecutorClient(config.executor, config.executor_patience_s, "generator") if config.executor else None
    engine = VllmEngine.start(config)
    try:
        await engine.warm_up()
        gc.collect()
        gc.freeze()  # a full collection of vLLM's modules would hold the event loop for a second, at any time
        servicer = GeneratorServicer(config, engine, client, template, metrics)
        watchdog = asyncio.create_task(engine.watch())
        try:
            await serve(config, {SERVICE_NAME: servicer.register}, broken=engine.died, metrics=metrics)
        finally:
            watchdog.cancel()
            servicer.close()
    finally:
        gc.unfreeze()  # or nanobind reports as leaked what the exit would have collected
        engine.stop()
        if client:
            await client.close()


if __name__ == "__main__":
    sys.exit(main())
