"""Entry point of the gateway: `python -m deepmath_gateway --generator ADDRESS --executor ADDRESS`."""

from deepmath.serving.sigterm_exit import exit_on_sigterm

if __name__ == "__main__":
    exit_on_sigterm()

import asyncio
import sys
from contextlib import AsyncExitStack

import uvloop

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.errors import DeepMathError
from deepmath.exit_codes import EXIT_INTERRUPTED
from deepmath.observability.logs import report_error, set_up_service_logging
from deepmath.rpc.core_logging import silence_core_logging
from deepmath.serving.descriptor_limit import raise_descriptor_limit
from deepmath.serving.service_config import load
from deepmath.serving.service_process import observed, run_server
from deepmath_gateway.config import GatewayConfig
from deepmath_gateway.gateway_app import Gateway
from deepmath_gateway.http_server import HttpServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM and return the exit status."""
    silence_core_logging()
    config = load(GatewayConfig, "deepmath serve gateway", sys.argv[1:] if arguments is None else arguments)
    set_up_service_logging(config.log_level, config.log_format, "gateway")
    try:
        # Faster than asyncio's own loop: see `benchmarks.gateway_load`.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config))
    except DeepMathError as error:
        report_error(f"deepmath serve gateway: {error}")
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


async def _serve(config: GatewayConfig) -> None:
    raise_descriptor_limit()
    async with AsyncExitStack() as block:
        gateway = Gateway(config)
        await block.enter_async_context(observed(config, gateway.metrics))
        if config.generator:
            client = GeneratorClient(config.generator, tls=config.tls, token_file=config.token_file)
            gateway.generator = await block.enter_async_context(client)
        if config.executor:
            gateway.executor = await block.enter_async_context(
                ExecutorClient(
                    config.executor,
                    config.executor_patience_s,
                    "gateway",
                    tls=config.tls,
                    token_file=config.token_file,
                )
            )
        await run_server(lambda: HttpServer.start(gateway), config.drain_seconds)


if __name__ == "__main__":
    sys.exit(main())
