"""A real generator service around a scripted engine, served from a background thread."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from deepmath_generator.config import GeneratorConfig
from deepmath_generator.inference_engine import FinishReason, SampledTokens
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_generator.service import SERVICE_NAME, GeneratorServicer
from support.scripted_engine import ScriptedEngine

from deepmath.clients import ExecutorClient
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.sandbox.background_loop import BackgroundLoop
from deepmath.serving.grpc_server import GrpcServer

HANGS = "(hangs)"
"""A scripted text with this suffix is streamed without it, and its generation never finishes."""


class ScriptedChatEngine(ScriptedEngine):
    """Answers chats with `replies` in order, and problems as its base class does. Records prompts and sampling."""

    context_length = 1 << 16

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[str] = []
        self.prompts: list[str] = []
        self.samplings: list[Any] = []

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: Any,
        *,
        stop_token: int | None = None,
        stop: Any = (),
        on_text: Any = None,
        **options: Any,
    ) -> SampledTokens:
        self.prompts.append(self.tokenizer.decode(prompt_ids))
        self.samplings.append(sampling)
        if stop_token is not None:
            return await super().generate(prompt_ids, sampling, **options)
        text, finish = self.replies.pop(0), FinishReason.END_OF_TURN
        for end in stop:
            if end in text:
                text, finish = text.split(end)[0], FinishReason.STOP_SEQUENCE
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        if text.endswith(HANGS):
            on_text(text.removesuffix(HANGS))
            await asyncio.Event().wait()
        on_text(text[:5])
        on_text(text[5:])
        return SampledTokens(ids, [-0.5] * len(ids), finish, 0)


@dataclass
class ScriptedGenerator:
    """A served generator."""

    engine: Any
    address: str
    loop: BackgroundLoop = field(repr=False)
    server: GrpcServer = field(repr=False)
    servicer: GeneratorServicer = field(repr=False)

    @property
    def live(self) -> int:
        """Number of running trajectories."""
        return self.servicer._admission.live

    def calls(self, method: str, status: str) -> float:
        """Number of finished calls of `method` with this status."""
        labels = {"method": f"{SERVICE_NAME}/{method}", "status": status}
        return self.servicer._metrics.registry.get_sample_value("deepmath_generator_rpcs_total", labels) or 0

    def kill(self) -> None:
        """Stop at once, and abort calls in flight."""
        self.loop.run(self.server.stop(0))


@contextmanager
def serve_scripted(
    executor: str, engine: type[ScriptedEngine] = ScriptedChatEngine, **settings: Any
) -> Iterator[ScriptedGenerator]:
    """Serve a generator around `engine` while the block lasts."""
    loop = BackgroundLoop()

    async def start() -> tuple[GeneratorServicer, GrpcServer, ExecutorClient]:
        config = GeneratorConfig(model=str(EMBEDDED_MODEL), **settings)
        client = ExecutorClient(executor, patience_s=2)
        metrics = GeneratorMetrics()
        servicer = GeneratorServicer(config, engine(), client, PromptTemplate.load(config.model), metrics)
        return servicer, await GrpcServer.start(config, {SERVICE_NAME: servicer.register}, metrics), client

    servicer, server, client = loop.run(start())
    try:
        yield ScriptedGenerator(servicer._engine, server.address, loop, server, servicer)
    finally:
        loop.run(server.stop(0))
        loop.run(client.close())
        loop.close()
