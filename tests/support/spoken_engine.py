"""A model that says prepared texts, token by token: it calls Python, thinks, answers, and calls functions."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from deepmath_generator.config import GeneratorConfig
from deepmath_generator.inference_engine import FinishReason, SampledTokens
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_generator.service import SERVICE_NAME, GeneratorServicer
from deepmath_generator.turn_text import TurnText

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.serving.grpc_server import GrpcServer
from support.played_engine import RecordingExecutor
from support.scripted_engine import ANSWER, CALL, ScriptedEngine

END_OF_TURN = "<|im_end|>"


class SpokenEngine(ScriptedEngine):
    """Says `call`, or in a chat `function_call` if there is one, and then `answer`.

    The log-probabilities depend on the seed.
    """

    model = "spoken"

    def __init__(
        self, call: str = f"<think>Easy.</think>\nI compute. {CALL}", answer: str = ANSWER, function_call: str = ""
    ) -> None:
        super().__init__()
        self.call, self.answer, self.function_call = call, answer, function_call
        self.stuck_after: int | None = None
        """Number of tokens after which a request samples nothing more."""
        self.running = 0
        self.prompts: list[list[int]] = []

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: Any,
        *,
        max_tokens: int = 1 << 31,
        stop_token: int | None = None,
        seed: int | None = None,
        on_tokens: Any = None,
        stop: Sequence[str] = (),
        on_text: Any = None,
        policy: Any = None,
        **_: Any,
    ) -> SampledTokens:
        self.prompts.append(list(prompt_ids))
        is_chat = on_text is not None
        prompt = self.tokenizer.decode(prompt_ids)
        first = (self.function_call or self.answer) if is_chat else self.call
        text = self.answer if prompt.rstrip().endswith("```") or "<tool_response>" in prompt else first
        ids = self.tokenizer.encode(text, add_special_tokens=False)[:max_tokens]
        turn = TurnText(self.tokenizer, prompt_ids, stop, on_text) if is_chat else None
        ends = self.tokenizer.decode(ids[-1:]) == END_OF_TURN
        sampled: list[int] = []
        finish = FinishReason.END_OF_TURN if ends else FinishReason.LENGTH
        self.running += 1
        try:
            for token in ids:
                await asyncio.sleep(0)
                while self.stuck_after is not None and len(sampled) >= self.stuck_after:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                sampled.append(token)
                if token == stop_token or (on_tokens and on_tokens([token])):
                    finish = FinishReason.TOOL_CALL
                    break
                if turn and turn.feed([] if self.tokenizer.decode([token]) == END_OF_TURN else [token]):
                    finish = FinishReason.STOP_SEQUENCE
                    break
        finally:
            self.running -= 1
        if turn and finish is not FinishReason.STOP_SEQUENCE and turn.end():
            finish = FinishReason.STOP_SEQUENCE
        logprobs = [-(1 + (number + (seed or 0)) % 7) / 8 for number in range(len(sampled))]
        return SampledTokens(sampled, logprobs, finish, 0)


class SpokenExecutor(RecordingExecutor):
    """Every snippet prints `output`, or fails for reasons of infrastructure."""

    def __init__(self, output: str = "42") -> None:
        super().__init__(output)
        self.is_lost = False

    async def get_info(self, _: float) -> None:
        pass

    async def run(self, code: str, limits: object) -> executor.SnippetResult:
        if self.is_lost:
            raise Unavailable("no executor could be reached")
        return await super().run(code, limits)


@asynccontextmanager
async def serve_spoken(engine: SpokenEngine, client: Any, **settings: Any) -> AsyncIterator[str]:
    """Serve a generator with this engine and a client of executors for a block, and yield its address."""
    config = GeneratorConfig(model=str(EMBEDDED_MODEL), **settings)
    servicer = GeneratorServicer(config, engine, client, PromptTemplate.load(config.model))
    server = await GrpcServer.start(config, {SERVICE_NAME: servicer.register})
    try:
        yield server.address
    finally:
        await server.stop(0)
        servicer.close()
