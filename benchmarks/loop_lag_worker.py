"""Generator of `loop_lag`: the service around a scripted engine or vLLM, and a probe of its event loop."""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from deepmath_generator.config import GeneratorConfig
from deepmath_generator.engine_statistics import EngineStatistics
from deepmath_generator.inference_engine import FinishReason, SampledTokens
from deepmath_generator.policy_versions import PolicyVersions
from deepmath_generator.turn_text import TurnText
from deepmath_generator.vllm_environment import set_vllm_environment

from deepmath.clients import ExecutorClient
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.serving.grpc_server import GrpcServer

TEXTS = [
    "\\boxed{",
    "{",
    "\\boxed{}",
    "<tool_call>",
    "</tool_call",
    "<think>",
    "<tool_call></tool_call>",
    "<tool_call>\n" + "```python\n" * 500 + "</tool_call>",
    "<tool_call>\n" + "x=1\n" * 2000 + "</tool_call>",
    "\ufffd",  # sampled as a byte that only starts a character
    "<|im_start|>",
    " ",
    "\n",
    "\\boxed 1",
    "<",
    "🙂",
]
_TICK_S = 0.02
_STEP_S = 0.5  # of a step that is not streamed
_PROBE_S = 0.001


class HostileEngine:
    """Samples the same text again and again, another one for each seed. All steps end at the same moments."""

    model = "hostile"
    context_length = 1_000_000
    generation_config: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_MODEL)
        self.died = asyncio.Event()
        self.statistics = EngineStatistics()
        self.policies = PolicyVersions(self._unload, 3)
        self._ids = [self.tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
        self._ids[TEXTS.index("\ufffd")] = self._ids[TEXTS.index("\ufffd")][:1]

    async def _unload(self, policy: object) -> None:
        pass

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: object,  # noqa: ARG002
        *,
        max_tokens: int,
        stop_token: int | None = None,
        seed: int | None = None,
        on_tokens: Any = None,
        stop: Sequence[str] = (),
        on_text: Any = None,
        **_: Any,
    ) -> SampledTokens:
        seed = seed or 0
        tools = stop_token is not None
        text = self._ids[(seed // 1_000_003 if seed >= 1_000_003 or tools else seed) % len(self._ids)]
        ids = (text * (max_tokens // len(text) + 1))[:max_tokens]
        end = self.tokenizer.convert_tokens_to_ids("</tool_call>")
        finish = FinishReason.LENGTH
        if tools and end in ids:
            ids, finish = ids[: ids.index(end) + 1], FinishReason.TOOL_CALL
        turn = TurnText(self.tokenizer, prompt_ids, stop, on_text)
        read: Callable[[list[int]], bool] | None = on_tokens or (turn.feed if on_text else None)
        if read is None:
            await _tick(_STEP_S)
            return SampledTokens(ids, [-0.5] * len(ids), finish, 0)
        for number in range(len(ids)):
            await _tick(_TICK_S)
            if read(ids[number : number + 1]):
                return SampledTokens(ids[: number + 1], [-0.5] * (number + 1), FinishReason.TOOL_CALL, 0)
        return SampledTokens(ids, [-0.5] * len(ids), finish, 0)


async def _tick(seconds: float) -> None:
    """Wait for the next multiple of this time: all that wait are woken at once, as by an engine's batch."""
    now = time.monotonic()
    await asyncio.sleep(seconds - now % seconds)


class LagProbe:
    """Measures by how many milliseconds a sleep is late that starts at any millisecond."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._work: list[float] = []

    def clear(self) -> None:
        self._late.clear()
        self._work.clear()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            start, working = time.perf_counter(), time.thread_time()
            await asyncio.sleep(_PROBE_S)
            late = time.perf_counter() - start - _PROBE_S
            _record(self._late, late)
            _record(self._work, min(late, time.thread_time() - working))

    def summary(self) -> dict[str, float]:
        late, work = sorted(self._late), sorted(self._work)
        percentiles = {"p50": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "max": late[-1]}
        figures = {**percentiles, "work_p99": work[len(work) * 99 // 100], "work_max": work[-1]}
        return {**{name: round(value, 2) for name, value in figures.items()}, "sleeps": len(late)}


def _record(lags: list[float], late: float) -> None:
    """Add the lag of a sleep, and those of sleeps that would have started while it was late."""
    lags += [(late - waited * _PROBE_S) * 1000 for waited in range(int(late / _PROBE_S) + 1)]


@asynccontextmanager
async def engine(config: GeneratorConfig, kind: str) -> AsyncIterator[Any]:
    if kind == "scripted":
        yield HostileEngine()
        return
    set_vllm_environment(config)
    from deepmath_generator.vllm_engine import VllmEngine

    served = VllmEngine.start(config)
    await served.warm_up()
    yield served
    served.stop()


async def main(executor: str, kind: str, priority: str) -> None:
    config = GeneratorConfig(model=str(EMBEDDED_MODEL), dtype="float32", eager=True)
    from deepmath_generator.prompt_template import PromptTemplate
    from deepmath_generator.service import SERVICE_NAME, GeneratorServicer

    async with engine(config, kind) as served, ExecutorClient(executor) as client:
        servicer = GeneratorServicer(config, served, client, PromptTemplate.load(config.model))
        server = await GrpcServer.start(config, {SERVICE_NAME: servicer.register})
        gc.collect()
        gc.freeze()  # as the generator's command does
        if priority == "real-time":
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        print(f"= {server.address}", flush=True)
        probe = LagProbe()
        task = asyncio.create_task(probe.run())
        while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if command == "start":
                probe.clear()
                print("= started", flush=True)
            else:
                print(f"= {json.dumps(probe.summary())}", flush=True)
        task.cancel()
        await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
