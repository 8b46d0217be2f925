"""`python -m services.generator --model DIRECTORY --executor ADDRESS`: the generator as a process."""

import asyncio
import sys

from deepmath.config import load
from deepmath.errors import DeepMathError
from deepmath.model_files import check_adapter, check_model
from deepmath.observability.logs import set_up_logging
from deepmath.serving import end_at_sigterm, serve
from services.generator.config import GeneratorConfig
from services.generator.environment import tell_vllm


def main(arguments: list[str] | None = None) -> int:
    """Run the service until it is told to end; return its exit status."""
    end_at_sigterm()
    config = load(GeneratorConfig, "deepmath serve generator", sys.argv[1:] if arguments is None else arguments)
    set_up_logging(config.log_level, config.log_format, "generator")
    tell_vllm(config)
    try:
        check_model(config.model)
        if config.adapter:
            check_adapter(config.adapter)
        asyncio.run(_serve(config))
    except DeepMathError as error:
        print(f"deepmath serve generator: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: GeneratorConfig) -> None:
    from deepmath.clients import ExecutorClient
    from deepmath.clients.credentials import set_credentials
    from services.generator.engine import Engine  # vLLM: seconds to import
    from services.generator.metrics import GeneratorMetrics
    from services.generator.prompt import PromptTemplate
    from services.generator.service import SERVICE_NAME, GeneratorServicer

    set_credentials(config.tls, config.token_file)
    template = PromptTemplate.load(config.model, config.prompt)
    client = ExecutorClient(config.executor, config.executor_patience_s, "generator") if config.executor else None
    engine = Engine.start(config)
    try:
        await engine.warm_up()
        metrics = GeneratorMetrics()
        servicer = GeneratorServicer(config, engine, client, template, metrics)
        watching = asyncio.create_task(engine.watch())
        try:
            await serve(config, {SERVICE_NAME: servicer.register}, broken=engine.died, metrics=metrics)
        finally:
            watching.cancel()
    finally:
        engine.stop()
        if client:
            await client.close()


if __name__ == "__main__":
    sys.exit(main())
