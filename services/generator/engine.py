"""The only file that knows vLLM: token ids in, token ids and their log-probabilities out."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from vllm import AsyncEngineArgs, SamplingParams, TokensPrompt
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.model_files import check_adapter, check_model
from services.generator.config import GeneratorConfig
from services.generator.prompt import END_OF_TOOL_CALL
from services.generator.sampling import Sampling

_BASE_POLICY, _ADAPTER_POLICY = 0, 1


class Finish(Enum):
    """Why the engine stopped."""

    END_OF_TURN = "end of turn"
    TOOL_CALL = "tool call"
    LENGTH = "length"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class Sample:
    """Tokens that were drawn, and the natural logarithm of the probability of each, as it was drawn."""

    token_ids: list[int]
    logprobs: list[float]
    finish: Finish


class Engine:
    """vLLM's asynchronous engine. Any number of `generate` may be in flight; it batches them.

    `died` is set when it has died, which is for good.
    """

    def __init__(self, llm: Any, model: str, adapter: Any | None) -> None:
        self._llm = llm
        self._adapter = adapter
        self._requests = itertools.count()
        self.died = asyncio.Event()
        self.model = model
        self.tokenizer = llm.get_tokenizer()
        self.context_length: int = llm.vllm_config.model_config.max_model_len
        self.policy_version = _BASE_POLICY if adapter is None else _ADAPTER_POLICY
        self._tool_stop = _stop_at(self.tokenizer, END_OF_TOOL_CALL)

    @classmethod
    def start(cls, config: GeneratorConfig) -> "Engine":
        """Load the model. Takes from half a minute to many.

        Raises:
            InvalidRequest: the model or the adapter is not there, or vLLM cannot serve it.
        """
        check_model(config.model)
        if config.adapter:
            check_adapter(config.adapter)
        try:
            llm = AsyncLLM.from_engine_args(_arguments(config))
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InvalidRequest(f"vLLM cannot serve {config.model}: {reason}") from error
        adapter = LoRARequest("adapter-1", _ADAPTER_POLICY, config.adapter) if config.adapter else None
        return cls(llm, Path(config.model).name if Path(config.model).is_dir() else config.model, adapter)

    async def warm_up(self) -> None:
        """Draw a token, so that no user waits for what the engine does only once."""
        await self.generate(self.tokenizer.encode("1"), Sampling(1.0, 1.0, 0), max_tokens=1, tools=False)

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: Sampling,
        *,
        max_tokens: int,
        tools: bool,
        seed: int | None = None,
        deadline: float | None = None,
        on_tokens: Callable[[list[int]], None] | None = None,
    ) -> Sample:
        """Draw up to `max_tokens` tokens after `prompt_ids`, to the end of the turn or, with `tools`, of a tool call.

        The token that ends the turn or the call is part of the sample. At `deadline` (in the event loop's time) what
        has been drawn by then is returned. `on_tokens` gets the tokens as they come. Cancelling aborts the request.

        Raises:
            Unavailable: the engine has died.
        """
        stop = self._tool_stop if tools else {}
        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or -1,
            seed=seed,
            max_tokens=max_tokens,
            logprobs=0,  # of the drawn token only
            flat_logprobs=True,
            detokenize="stop" in stop,
            output_kind=RequestOutputKind.DELTA if on_tokens else RequestOutputKind.FINAL_ONLY,
            **stop,
        )
        request = str(next(self._requests))
        token_ids: list[int] = []
        logprobs: list[float] = []
        reason: str | None = None
        timer = deadline and asyncio.get_running_loop().call_at(
            deadline, lambda: asyncio.ensure_future(self._llm.abort(request, internal=False))
        )
        try:
            prompt = TokensPrompt(prompt_token_ids=prompt_ids)
            async for output in self._llm.generate(prompt, params, request, lora_request=self._adapter):
                completion = output.outputs[0]
                token_ids += completion.token_ids
                logprobs += _drawn(completion.logprobs)
                reason = completion.finish_reason
                if on_tokens and completion.token_ids:
                    on_tokens(list(completion.token_ids))
        except EngineDeadError as error:
            self.died.set()
            raise Unavailable("the engine has died; the generator's log says why") from error
        except EngineGenerateError as error:
            raise Unavailable(f"the engine failed: {error}") from error
        finally:
            if timer:
                timer.cancel()
        return Sample(token_ids, logprobs, self._finish(reason, token_ids, tools))

    def _finish(self, reason: str | None, token_ids: list[int], tools: bool) -> Finish:
        if reason == "length":
            return Finish.LENGTH
        if reason == "abort":
            return Finish.DEADLINE
        if tools and self.tokenizer.decode(token_ids[-4:]).rstrip().endswith(END_OF_TOOL_CALL):
            return Finish.TOOL_CALL
        return Finish.END_OF_TURN

    def stop(self) -> None:
        """End the engine's processes."""
        self._llm.shutdown()
        self._llm = None  # or its finalizer complains when the interpreter ends


def _arguments(config: GeneratorConfig) -> AsyncEngineArgs:
    arguments = AsyncEngineArgs(  # looks the model up, and may fail where there is none
        model=config.model,
        dtype=config.dtype,
        max_num_seqs=config.max_batch,
        tensor_parallel_size=config.tensor_parallel,
        pipeline_parallel_size=config.pipeline_parallel,
        gpu_memory_utilization=config.gpu_memory,
        enforce_eager=config.eager,
        logprobs_mode="processed_logprobs",  # of the policy that draws: after temperature, top-p and top-k
        enable_lora=config.adapter is not None,
        max_lora_rank=config.max_lora_rank,
        disable_log_stats=True,
    )
    if config.context_length:
        arguments.max_model_len = config.context_length
    if current_platform.is_cpu():
        # A prompt cut in two steps would have vLLM 0.32 rewind the request's generator, which no CPU generator can: a
        # request with a seed would take the engine down.
        arguments.enable_chunked_prefill = False
        # After a tool call all but the last block of the context is found in the cache. vLLM's blocks of 128 would
        # leave most of a short trajectory to be computed again; 32 is the least its CPU kernels take.
        arguments.block_size = 32
    return arguments


def _stop_at(tokenizer: Any, text: str) -> dict[str, Any]:
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) == 1:
        return {"stop_token_ids": ids}
    return {"stop": [text], "include_stop_str_in_output": True}  # models without a token for it; needs decoding


def _drawn(logprobs: Any) -> list[float]:
    # Of a position's entries in vLLM's flat form the first is the drawn token's.
    return [logprobs.logprobs[first] for first in logprobs.start_indices]
