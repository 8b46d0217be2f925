"""An engine that needs no model: it calls Python once and then answers. Its tokens are the embedded model's."""

import asyncio
from functools import cache
from typing import Any

from deepmath_generator.inference_engine import FinishReason, SampledTokens
from deepmath_generator.policy_versions import PolicyVersions
from transformers import AutoTokenizer

from deepmath.local_stack.stack import EMBEDDED_MODEL

CODE = "0*71 + 6*7"
CALL = f"<tool_call>\n{CODE}\n</tool_call>"
ANSWER = "The answer is \\boxed{42}.<|im_end|>"


@cache
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(EMBEDDED_MODEL)


class ScriptedEngine:
    """Stands in for deepmath_generator.vllm_engine.Engine."""

    model = "scripted"
    context_length = 4096

    def __init__(self) -> None:
        self.tokenizer = tokenizer()
        self.died = asyncio.Event()
        self.policies = PolicyVersions(self._unload, 3)

    async def _unload(self, policy: object) -> None:
        pass

    async def generate(self, prompt_ids: list[int], *_: object, on_tokens: Any = None, **__: object) -> SampledTokens:
        called = self.tokenizer.decode(prompt_ids).rstrip().endswith("```")
        ids = self.tokenizer.encode(ANSWER if called else CALL, add_special_tokens=False)
        if on_tokens:
            on_tokens(ids)
        async with self.policies.segment() as policy:
            finish = FinishReason.END_OF_TURN if called else FinishReason.TOOL_CALL
            return SampledTokens(ids, [-0.5] * len(ids), finish, policy.version)
