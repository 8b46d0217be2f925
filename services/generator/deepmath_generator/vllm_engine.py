"""The only file that knows vLLM: token ids in, token ids and their log-probabilities out."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from vllm import AsyncEngineArgs, SamplingParams, TokensPrompt
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from deepmath.clients.model_files import model_name
from deepmath.data.transcript import END_OF_TOOL_CALL
from deepmath.errors import InvalidRequest, Unavailable
from deepmath_generator import vllm_plugin
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.parameter_shapes import ParameterShapes
from deepmath_generator.policy_versions import Policy, PolicyVersions
from deepmath_generator.sampling_options import SamplingOptions

_adapter_numbers = itertools.count(1)  # never twice: vLLM's caches of adapters and of prefixes go by them

_WATCH_S = 1.0

_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM can make room for


class Finish(Enum):
    """Why the engine stopped."""

    END_OF_TURN = "end of turn"
    TOOL_CALL = "tool call"
    STOP_SEQUENCE = "stop sequence"
    LENGTH = "length"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class SampledTokens:
    """Tokens that were drawn, the natural logarithm of the probability of each, as it was drawn, and who drew them."""

    token_ids: list[int]
    logprobs: list[float]
    finish: Finish
    policy_version: int


class VllmEngine:
    """vLLM's asynchronous engine. Any number of `generate` may be in flight; it batches them.

    `died` is set when it has died, which is for good. `policies` says which versions of the policy are loaded.
    """

    def __init__(self, llm: Any, model: str, config: GeneratorConfig) -> None:
        self._llm = llm
        self._config = config
        self._requests = itertools.count()
        self.policies = PolicyVersions(self._unload, config.max_adapters)
        self.died = asyncio.Event()
        self.model = model
        self.tokenizer = llm.get_tokenizer()
        self.context_length: int = llm.vllm_config.model_config.max_model_len
        self._tool_stop = _stop_at(self.tokenizer, END_OF_TOOL_CALL)

    @classmethod
    def start(cls, config: GeneratorConfig) -> "VllmEngine":
        """Load the model. Takes from half a minute to many.

        Raises:
            InvalidRequest: vLLM cannot serve the model.
        """
        vllm_plugin.claim()
        try:
            llm = AsyncLLM.from_engine_args(_arguments(config))
        except Exception as error:
            raise InvalidRequest(f"vLLM cannot serve {config.model}: {_reason(error)}") from error
        return cls(llm, model_name(config.model), config)

    async def warm_up(self) -> None:
        """Load the adapter that it was started with and draw a token: no user waits for what is done only once.

        Raises:
            InvalidRequest: the adapter does not fit the model.
        """
        if _takes_lora(self._config) and current_platform.is_cpu():
            await self._llm.collective_rpc("group_lora")
        if self._config.adapter:
            await self.load_adapter(1, self._config.adapter, Path(self._config.adapter))
        await self.generate(self.tokenizer.encode("1"), SamplingOptions(1.0, 1.0, 0), max_tokens=1, tools=False)

    @cached_property
    def architecture(self) -> ParameterShapes:
        """What the model is made of. Seconds for a large one at first."""
        return ParameterShapes(self.model, self._llm.vllm_config.model_config.hf_config)

    async def load_adapter(self, version: int, content: str, folder: Path) -> None:
        """Make the adapter in `folder` the policy of new segments. `content` tells it from another of that version.

        The folder is not needed any more after that: vLLM keeps all that is in use.

        Raises:
            InvalidRequest: it does not fit the model.
            WrongOrder: `version` is not larger than every one before.
            Overloaded: segments in flight use as many adapters as may be loaded.
            Unavailable: the engine has died.
        """
        await asyncio.to_thread(lambda: self.architecture.check_adapter(folder, self._config.max_lora_rank))
        number = next(_adapter_numbers)
        adapter = LoRARequest(f"adapter-{number}", number, str(folder))

        async def load() -> None:
            try:
                await self._llm.add_lora(adapter)
            except EngineDeadError as error:
                raise self._dead() from error
            except Exception as error:
                raise InvalidRequest(f"vLLM cannot serve the adapter: {_reason(error)}") from error

        await self.policies.adopt(Policy(version, content, adapter), load)

    async def load_checkpoint(self, version: int, folder: Path) -> None:
        """Make the weights in `folder` the policy of all segments, once those in flight have ended.

        Raises:
            InvalidRequest: they are not those of this model.
            WrongOrder: `version` is not larger than every one before.
            Unavailable: the engine has died, or died of the weights.
        """
        await asyncio.to_thread(self.architecture.check_checkpoint, folder)

        async def load() -> None:
            try:
                await self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
                if current_platform.is_cpu():
                    await self._llm.collective_rpc("pack_output_layer")
                await self._llm.reset_prefix_cache()
            except Exception as error:  # half of the weights may be new
                raise self._dead() from error

        await self.policies.replace(Policy(version, str(folder)), load)

    async def _unload(self, policy: Policy) -> None:
        try:
            await self._llm.remove_lora(policy.adapter.lora_int_id)  # type: ignore[union-attr]
        except EngineDeadError:
            self._dead()

    async def watch(self) -> None:
        """See to it that `died` is set also where nobody asks the engine for anything. Until it is cancelled."""
        while not self._llm.errored:  # noqa: ASYNC110 - vLLM tells nobody
            await asyncio.sleep(_WATCH_S)
        self._dead()

    def _dead(self) -> Unavailable:
        self.died.set()
        return Unavailable("the engine has died; the generator's log says why")

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: SamplingOptions,
        *,
        max_tokens: int,
        tools: bool,
        seed: int | None = None,
        deadline: float | None = None,
        on_tokens: Callable[[list[int]], None] | None = None,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> SampledTokens:
        """Draw up to `max_tokens` tokens after `prompt_ids`, to the end of the turn or, with `tools`, of a tool call.

        The token that ends the turn or the call is part of the sample. At `deadline` (in the event loop's time) what
        has been drawn by then is returned. `on_tokens` gets the tokens as they come. Cancelling aborts the request.

        `stop` are texts that end it too, not with `tools`. `on_text` gets the text as it comes, without the token that
        ends the turn, and without the stop sequence.

        All tokens are drawn from one version of the policy: the one that is current when it begins.

        Raises:
            Unavailable: the engine has died.
        """
        async with self.policies.segment() as policy:
            return await self._generate(
                policy, prompt_ids, sampling, max_tokens, tools, seed, deadline, on_tokens, list(stop), on_text
            )

    async def _generate(
        self,
        policy: Policy,
        prompt_ids: list[int],
        sampling: SamplingOptions,
        max_tokens: int,
        tools: bool,
        seed: int | None,
        deadline: float | None,
        on_tokens: Callable[[list[int]], None] | None,
        stop: list[str],
        on_text: Callable[[str], None] | None,
    ) -> SampledTokens:
        stops = self._tool_stop if tools else {"stop": stop} if stop else {}
        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or -1,
            seed=seed,
            max_tokens=max_tokens,
            logprobs=0,  # of the drawn token only
            flat_logprobs=True,
            detokenize="stop" in stops or on_text is not None,
            skip_special_tokens=False,
            output_kind=RequestOutputKind.DELTA if on_tokens or on_text else RequestOutputKind.FINAL_ONLY,
            **stops,
        )
        request = str(next(self._requests))
        token_ids: list[int] = []
        logprobs: list[float] = []
        reason: str | None = None
        stopped_by: int | str | None = None
        timer = deadline and asyncio.get_running_loop().call_at(
            deadline, lambda: asyncio.ensure_future(self._llm.abort(request, internal=False))
        )
        try:
            prompt = TokensPrompt(prompt_token_ids=prompt_ids)
            async for output in self._llm.generate(prompt, params, request, lora_request=policy.adapter):
                completion = output.outputs[0]
                token_ids += completion.token_ids
                logprobs += _drawn(completion.logprobs)
                reason, stopped_by = completion.finish_reason, completion.stop_reason
                if on_tokens and completion.token_ids:
                    on_tokens(list(completion.token_ids))
                if on_text and completion.text:
                    on_text(completion.text)
        except EngineDeadError as error:
            raise self._dead() from error
        except EngineGenerateError as error:
            raise Unavailable(f"the engine failed: {error}") from error
        finally:
            if timer:
                timer.cancel()
        finish = Finish.STOP_SEQUENCE if stopped_by in stop else self._finish(reason, token_ids, tools)
        return SampledTokens(token_ids, logprobs, finish, policy.version)

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
        distributed_executor_backend="ray" if config.ray else None,
        gpu_memory_utilization=config.gpu_memory,
        enforce_eager=config.eager,
        logprobs_mode="processed_logprobs",  # of the policy that draws: after temperature, top-p and top-k
        enable_lora=_takes_lora(config),
        max_lora_rank=next(rank for rank in _LORA_RANKS if rank >= config.max_lora_rank),
        max_loras=config.max_adapters,
        disable_log_stats=True,
    )
    if config.context_length:
        arguments.max_model_len = config.context_length
    if current_platform.is_cpu():
        arguments.worker_extension_cls = "deepmath_generator.vllm_patches.cpu.worker_extension.CpuWorkerExtension"
        # On a CPU vLLM 0.32 gives tokens without an adapter the one in the last slot: one slot more leaves that empty.
        arguments.max_loras += 1
        arguments.max_cpu_loras = arguments.max_loras
        # A prompt cut in two steps would have vLLM 0.32 rewind the request's generator, which no CPU generator can: a
        # request with a seed would take the engine down.
        arguments.enable_chunked_prefill = False
        # After a tool call all but the last block of the context is found in the cache. vLLM's blocks of 128 would
        # leave most of a short trajectory to be computed again; 32 is the least its CPU kernels take.
        arguments.block_size = 32
    return arguments


def _takes_lora(config: GeneratorConfig) -> bool:
    return config.adapters or config.adapter is not None


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _stop_at(tokenizer: Any, text: str) -> dict[str, Any]:
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) == 1:
        return {"stop_token_ids": ids}
    return {"stop": [text], "include_stop_str_in_output": True}  # models without a token for it; needs decoding


def _drawn(logprobs: Any) -> list[float]:
    # Of a position's entries in vLLM's flat form the first is the drawn token's.
    return [logprobs.logprobs[first] for first in logprobs.start_indices]
