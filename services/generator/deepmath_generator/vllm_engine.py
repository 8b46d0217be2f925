"""vLLM as the inference engine. Beside `vllm_patches`, the only module that imports vLLM."""

import asyncio
import itertools
import math
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
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
from deepmath.errors import InvalidRequest, Unavailable
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.generation_config import end_of_turn_token
from deepmath_generator.inference_engine import FinishReason, InferenceEngine, SampledTokens
from deepmath_generator.parameter_shapes import ParameterShapes
from deepmath_generator.policy_versions import Policy, PolicyVersions
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.turn_text import TurnText
from deepmath_generator.vllm_environment import is_eager
from deepmath_generator.vllm_patches import vllm_plugin, worker_methods
from deepmath_generator.vllm_patches.cpu import cpu_arguments
from deepmath_generator.vllm_patches.flat_logprobs import sampled_logprobs
from deepmath_generator.vllm_patches.lora_ranks import supported_rank
from deepmath_generator.vllm_patches.startup_report import StartupReport
from deepmath_generator.vllm_patches.statistics_logger import StatisticsLogger, statistics_of

_adapter_ids = itertools.count(1)  # unique per process: keys of vLLM's adapter and prefix caches

_WATCH_INTERVAL_S = 1.0
_BEFORE_ALL_OTHERS = -1  # a policy update does not wait for the requests that are queued
_TRIAL_PROMPT = "1 + 2 = 3"
_FITTING_CONTEXT = re.compile(r"KV cache.*estimated maximum model length is (\d+)", re.DOTALL)  # vLLM's message


class VllmEngine(InferenceEngine):
    """vLLM's asynchronous engine."""

    def __init__(self, llm: Any, model: str, config: GeneratorConfig) -> None:
        self._llm = llm
        self.statistics = statistics_of(llm)
        self._config = config
        self._request_ids = itertools.count()
        self.policies = PolicyVersions(self._unload, config.max_adapters)
        self.died = asyncio.Event()
        self.model = model
        self.tokenizer = llm.get_tokenizer()
        self.context_length = llm.vllm_config.model_config.max_model_len
        self.generation_config = llm.vllm_config.model_config.try_get_generation_config()
        end = end_of_turn_token(self.tokenizer)
        self._end_of_turn = [] if end is None else [end]  # vLLM adds the `eos_token_id`s itself

    @classmethod
    def start(cls, config: GeneratorConfig) -> "VllmEngine":
        """Start vLLM's processes and load the model, which takes from half a minute to many.

        Raises:
            InvalidRequest: vLLM cannot serve the model.
            VllmPatchError: A patch does not apply in one of vLLM's processes.
        """
        vllm_plugin.mark_generator()
        with StartupReport() as report:
            try:
                llm = AsyncLLM.from_engine_args(_engine_arguments(config), stat_loggers=[StatisticsLogger])
            except Exception as error:
                report.raise_failure()
                raise InvalidRequest(
                    f"vLLM cannot serve {config.model}: {start_failure(report.cause(), error)}"
                ) from error
            try:
                report.check_success()
            except BaseException:
                llm.shutdown()
                raise
        return cls(llm, model_name(config.model), config)

    async def warm_up(self) -> None:
        """Patch the workers, load the configured adapter, and sample one token, so that no request pays for it.

        Raises:
            InvalidRequest: The adapter does not fit the model.
            VllmPatchError: A patch does not apply in a worker.
        """
        if current_platform.is_cpu():
            await worker_methods.patch_cpu_worker(self._llm, lora=_is_lora_enabled(self._config))
        if self._config.adapter:
            await self.load_adapter(1, self._config.adapter, Path(self._config.adapter))
        async with self.policies.segment() as policy:
            await self._try(policy)

    @cached_property
    def shapes(self) -> ParameterShapes:
        """Parameter shapes of the model. The first access takes seconds for a large model."""
        return ParameterShapes(self.model, self._llm.vllm_config.model_config.hf_config)

    async def load_adapter(self, version: int, content: str, folder: Path, run: str = "") -> None:
        """Load a LoRA adapter: see `InferenceEngine`."""
        await asyncio.to_thread(lambda: self.shapes.check_adapter(folder, self._config.max_lora_rank))
        adapter_id = next(_adapter_ids)
        adapter = LoRARequest(f"adapter-{adapter_id}", adapter_id, str(folder))

        async def load() -> None:
            try:
                await self._llm.add_lora(adapter)
            except EngineDeadError as error:
                raise self._set_died() from error
            except Exception as error:
                raise InvalidRequest(f"vLLM cannot serve the adapter: {_first_line(error)}") from error
            await self._try(policy)

        policy = Policy(version, content, adapter, run)
        await self.policies.adopt(policy, load)

    async def _try(self, policy: Policy) -> None:
        """Sample a token with a policy that is not served yet.

        Raises:
            InvalidRequest: Its log-probability is not finite: the weights overflow the engine's data type.
            Unavailable: The engine has died.
        """
        params = _sampling_params(SamplingOptions(1.0, 1.0, 0), 1, seed=0, is_streamed=False, stop_ids=[])
        trial = self._completions(self.tokenizer.encode(_TRIAL_PROMPT), params, policy, priority=_BEFORE_ALL_OTHERS)
        logprobs = [value async for completion in trial for value in sampled_logprobs(completion.logprobs)]
        if not all(map(math.isfinite, logprobs)):
            raise InvalidRequest(
                "the policy samples with log-probabilities that are not finite: its weights are too large"
            )

    async def load_checkpoint(self, version: int, folder: Path, run: str = "") -> None:
        """Load all weights: see `InferenceEngine`."""
        await asyncio.to_thread(self.shapes.check_checkpoint, folder)
        await self._replace_weights(Policy(version, str(folder), run=run), str(folder))

    async def restore_model(self, run: str) -> None:
        """Load the model's own weights again: see `InferenceEngine`."""
        if not self.policies.has_base(run):
            await self._replace_weights(Policy(0, run=run), self._config.model)

    async def _replace_weights(self, policy: Policy, weights: str) -> None:
        async def load() -> None:
            try:
                await worker_methods.reload_weights(self._llm, weights)
                if current_platform.is_cpu():
                    await worker_methods.repack_output_layer(self._llm)
                await self._llm.reset_prefix_cache()
            except Exception as error:  # the weights may be partly replaced
                raise self._set_died() from error

        await self.policies.replace(policy, load)

    async def _unload(self, policy: Policy) -> None:
        try:
            await self._llm.remove_lora(policy.adapter.lora_int_id)  # type: ignore[union-attr]
        except EngineDeadError:
            self._set_died()

    async def watch(self) -> None:
        """Set `died` when the engine dies, even without a request that would notice. Runs until cancelled."""
        while not self._llm.errored:  # noqa: ASYNC110 - vLLM has no event for it
            await asyncio.sleep(_WATCH_INTERVAL_S)
        self._set_died()

    def _set_died(self) -> Unavailable:
        self.died.set()
        return Unavailable("the engine has died; see the generator's log for the cause")

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: SamplingOptions,
        *,
        max_tokens: int,
        stop_token: int | None = None,
        seed: int | None = None,
        deadline: float | None = None,
        on_tokens: Callable[[list[int]], bool | None] | None = None,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
        policy: Policy | None = None,
    ) -> SampledTokens:
        """Sample tokens: see `InferenceEngine`."""
        turn = TurnText(self.tokenizer, prompt_ids, stop, on_text) if stop or on_text else None
        stop_ids = self._end_of_turn if stop_token is None else [stop_token, *self._end_of_turn]
        params = _sampling_params(sampling, max_tokens, seed, is_streamed=bool(on_tokens or turn), stop_ids=stop_ids)
        sampled: list[int] = []
        logprobs: list[float] = []
        finish = FinishReason.END_OF_TURN
        async with self.policies.segment(held=policy) as policy:
            completions = self._completions(prompt_ids, params, policy, deadline)
            async with aclosing(completions):
                async for completion in completions:
                    token_ids = list(completion.token_ids)
                    sampled += token_ids
                    logprobs += sampled_logprobs(completion.logprobs)
                    finish = _finish_reason(completion, stop_token)
                    if on_tokens and token_ids and on_tokens(token_ids):
                        finish = FinishReason.TOOL_CALL
                        break
                    is_end = completion.finish_reason is not None and finish is FinishReason.END_OF_TURN
                    if turn and turn.feed(token_ids[:-1] if is_end else token_ids):
                        finish = FinishReason.STOP_SEQUENCE
                        break
        if turn and finish is not FinishReason.STOP_SEQUENCE and turn.end():
            finish = FinishReason.STOP_SEQUENCE
        return SampledTokens(sampled, logprobs, finish, policy.version)

    async def _completions(
        self,
        prompt_ids: list[int],
        params: SamplingParams,
        policy: Policy,
        deadline: float | None = None,
        priority: int = 0,
    ) -> AsyncGenerator[Any]:
        """Run one request and yield vLLM's `CompletionOutput`s; abort it at `deadline`.

        Raises:
            Unavailable: The engine has died.
        """
        request_id = str(next(self._request_ids))
        prompt = TokensPrompt(prompt_token_ids=prompt_ids)
        timer = deadline and asyncio.get_running_loop().call_at(
            deadline, lambda: asyncio.ensure_future(self._llm.abort(request_id))
        )
        try:
            generating = self._llm.generate(prompt, params, request_id, lora_request=policy.adapter, priority=priority)
            async with aclosing(generating) as outputs:
                async for output in outputs:
                    yield output.outputs[0]
        except EngineDeadError as error:
            raise self._set_died() from error
        except EngineGenerateError as error:
            raise Unavailable(f"the engine failed: {error}") from error
        finally:
            if timer:
                timer.cancel()

    def stop(self) -> None:
        """Stop vLLM's processes."""
        self._llm.shutdown()
        self._llm = None  # now: `AsyncLLM.__del__` fails at interpreter exit


def _engine_arguments(config: GeneratorConfig) -> AsyncEngineArgs:
    arguments = AsyncEngineArgs(  # reads the model's configuration, and raises if there is none
        model=config.model,
        dtype=config.dtype,
        max_num_seqs=config.max_batch,
        tensor_parallel_size=config.tensor_parallel,
        pipeline_parallel_size=config.pipeline_parallel,
        distributed_executor_backend="ray" if config.ray else None,
        gpu_memory_utilization=config.gpu_memory,
        enforce_eager=is_eager(config),
        logprobs_mode="processed_logprobs",  # of the sampling distribution: after temperature, top-p and top-k
        enable_lora=_is_lora_enabled(config),
        max_lora_rank=supported_rank(config.max_lora_rank),
        max_loras=config.max_adapters,
        scheduling_policy="priority",  # equal priorities: first come, first served
        disable_log_stats=True,  # of vLLM's own loggers; see StatisticsLogger
    )
    # -1: the model's, or as much of it as the KV cache has room for (vllm/v1/core/kv_cache_utils.py).
    arguments.max_model_len = config.context_length or -1
    if current_platform.is_cpu():
        cpu_arguments.patch_arguments(arguments)
    return arguments


def _sampling_params(
    sampling: SamplingOptions, max_tokens: int, seed: int | None, *, is_streamed: bool, stop_ids: list[int]
) -> SamplingParams:
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k or -1,
        seed=seed,
        max_tokens=max_tokens,
        logprobs=0,  # of the sampled token only
        flat_logprobs=True,
        detokenize=False,  # vLLM's takes time quadratic in tokens that are no text; see TokenDecoder
        output_kind=RequestOutputKind.DELTA if is_streamed else RequestOutputKind.FINAL_ONLY,
        stop_token_ids=stop_ids,
    )


def _finish_reason(completion: Any, stop_token: int | None) -> FinishReason:
    match completion.finish_reason:
        case "length":
            return FinishReason.LENGTH
        case "abort":
            return FinishReason.DEADLINE
    is_call = stop_token is not None and completion.stop_reason == stop_token
    return FinishReason.TOOL_CALL if is_call else FinishReason.END_OF_TURN


def _is_lora_enabled(config: GeneratorConfig) -> bool:
    return config.adapters or config.adapter is not None


def start_failure(cause: str | None, error: Exception) -> str:
    """Return why the engine did not start: the exception that vLLM logged, or else the one that it raised."""
    if cause and (fits := _FITTING_CONTEXT.search(cause)):
        return (
            f"the KV cache has room for a context of {fits[1]} tokens; set --context-length to at most that, or raise "
            "--gpu-memory (on a CPU --cpu-cache-gib)"
        )
    return cause.strip().splitlines()[0] if cause and cause.strip() else _first_line(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
