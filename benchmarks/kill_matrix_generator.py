"""Generator of `kill_matrix`: the service around an engine whose samples depend on context, seed and policy alone.

One wrong bit in the weights of a policy, or another policy in its place, changes all samples: a run that was killed
equals one that was not only if each of its batches was sampled by exactly the policy that was meant.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from deepmath_generator.config import GeneratorConfig
from deepmath_generator.engine_statistics import EngineStatistics
from deepmath_generator.inference_engine import FinishReason, SampledTokens
from deepmath_generator.policy_versions import Policy, PolicyVersions

from deepmath.clients import ExecutorClient
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.serving.grpc_server import GrpcServer

_STEP_S = 0.03
_LOAD_S = 0.03
_CALLS = ("{a} * {b}", "print({a} + {b})", "1 / 0", "{a}")


class PolicyBoundEngine:
    """Most turns call Python, with a snippet that may fail, and all end with an answer."""

    model = EMBEDDED_MODEL.name
    context_length = 4096
    generation_config: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, max_adapters: int) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_MODEL)
        self.died = asyncio.Event()
        self.policies = PolicyVersions(self._unload, max_adapters)
        self.statistics = EngineStatistics()

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: object,  # noqa: ARG002
        *,
        stop_token: int | None = None,
        seed: int | None = None,
        on_tokens: Any = None,
        policy: Policy | None = None,
        **_: Any,
    ) -> SampledTokens:
        async with self.policies.segment(policy) as used:
            context = hashlib.sha256(f"{used.content} {list(prompt_ids)} {seed}".encode()).hexdigest()
            draw = Random(context)
            await asyncio.sleep(_STEP_S * draw.random())
            called = self.tokenizer.decode(prompt_ids).rstrip().endswith("```")
            a, b = draw.randrange(100), draw.randrange(100)
            if stop_token is not None and not called and draw.random() < 0.7:
                text = f"<tool_call>\n{draw.choice(_CALLS).format(a=a, b=b)}\n</tool_call>"
                finish = FinishReason.TOOL_CALL
            else:
                text, finish = f"So it is \\boxed{{{a}}}.<|im_end|>", FinishReason.END_OF_TURN
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            if on_tokens:
                on_tokens(ids)
            return SampledTokens(ids, [-draw.random() for _ in ids], finish, used.version)

    async def load_adapter(self, version: int, content: str, folder: Path, run: str = "") -> None:  # noqa: ARG002
        await self.policies.adopt(Policy(version, content, object(), run), self._load)

    async def load_checkpoint(self, version: int, folder: Path, run: str = "") -> None:
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        await self.policies.replace(Policy(version, digest, run=run), self._load)

    async def restore_model(self, run: str) -> None:
        await self.policies.replace(Policy(0, run=run), self._load)

    async def _load(self) -> None:
        await asyncio.sleep(_LOAD_S)

    async def _unload(self, policy: Policy) -> None:
        pass


async def main(address: str, executor: str, max_adapters: str) -> None:
    """Serve at `address` until killed."""
    from deepmath_generator.prompt_template import PromptTemplate
    from deepmath_generator.service import SERVICE_NAME, GeneratorServicer

    config = GeneratorConfig(
        model=str(EMBEDDED_MODEL), listen=address, max_adapters=int(max_adapters), checkpoint_root="/"
    )
    async with ExecutorClient(executor) as client:
        engine: Any = PolicyBoundEngine(config.max_adapters)
        servicer = GeneratorServicer(config, engine, client, PromptTemplate.load(config.model))
        server = await GrpcServer.start(config, {SERVICE_NAME: servicer.register})
        print(f"serving on {server.address}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    asyncio.run(main(*sys.argv[1:]))
