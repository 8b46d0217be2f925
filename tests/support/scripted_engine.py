"""Inference engine without a model: it makes one tool call, then answers. Its tokenizer is the embedded model's."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

from deepmath_generator.engine_statistics import EngineStatistics
from deepmath_generator.inference_engine import FinishReason, InferenceEngine, SampledTokens
from deepmath_generator.policy_versions import PolicyVersions

from deepmath.local_stack.stack import EMBEDDED_MODEL

CODE = "0*71 + 6*7"
CALL = f"<tool_call>\n{CODE}\n</tool_call>"
ANSWER = "The answer is \\boxed{42}.<|im_end|>"


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(EMBEDDED_MODEL)


class ScriptedEngine(InferenceEngine):
    """Stands in for `VllmEngine`."""

    model = "scripted"
    context_length = 4096

    def __init__(self) -> None:
        self.tokenizer = tokenizer()
        self.died = asyncio.Event()
        self.statistics = EngineStatistics()
        self.policies = PolicyVersions(self._unload, 3)

    async def _unload(self, policy: object) -> None:
        pass

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: object,
        *,
        on_tokens: Any = None,
        policy: Any = None,
        **__: Any,
    ) -> SampledTokens:
        called = self.tokenizer.decode(prompt_ids).rstrip().endswith("```")
        ids = self.tokenizer.encode(ANSWER if called else CALL, add_special_tokens=False)
        if on_tokens:
            on_tokens(ids)
        async with self.policies.segment(policy) as policy:
            finish = FinishReason.END_OF_TURN if called else FinishReason.TOOL_CALL
            return SampledTokens(ids, [-0.5] * len(ids), finish, policy.version)

    async def load_adapter(self, version: int, content: str, folder: Path, run: str = "") -> None:
        raise NotImplementedError

    async def load_checkpoint(self, version: int, folder: Path, run: str = "") -> None:
        raise NotImplementedError

    async def restore_model(self, run: str) -> None:
        raise NotImplementedError
