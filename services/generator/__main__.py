"""`python -m services.generator --model DIRECTORY --executor ADDRESS`: the generator as a process."""

import asyncio
import os
import sys

from deepmath.config import load
from deepmath.errors import DeepMathError
from deepmath.serving import serve, set_up_logging
from services.generator.config import GeneratorConfig


def main(arguments: list[str] | None = None) -> int:
    """Run the service until it is told to end; return its exit status."""
    config = load(GeneratorConfig, "deepmath serve generator", sys.argv[1:] if arguments is None else arguments)
    set_up_logging(config.log_level)
    _tell_vllm(config)
    try:
        asyncio.run(_serve(config))
    except DeepMathError as error:
        print(f"deepmath serve generator: {error}", file=sys.stderr)
        return 1
    return 0


def _tell_vllm(config: GeneratorConfig) -> None:
    """Set what vLLM reads from the environment when it is imported, where the user has not."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", config.log_level.upper())
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(config.cpu_cache_gib))
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if (
        config.eager
    ):  # vLLM's sampler compiles a kernel at its first use all the same: 20 s, and a compiler, for nothing
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")


async def _serve(config: GeneratorConfig) -> None:
    from deepmath.clients import ExecutorClient
    from services.generator.engine import Engine  # vLLM: seconds to import
    from services.generator.prompt import PromptTemplate
    from services.generator.service import SERVICE_NAME, GeneratorServicer

    template = PromptTemplate.load(config.model, config.prompt)
    client = ExecutorClient(config.executor, config.executor_patience_s) if config.executor else None
    engine = Engine.start(config)
    try:
        await engine.warm_up()
        servicer = GeneratorServicer(config, engine, client, template)
        await serve(config, {SERVICE_NAME: servicer.register}, broken=engine.died)
    finally:
        engine.stop()
        if client:
            await client.close()


if __name__ == "__main__":
    sys.exit(main())
