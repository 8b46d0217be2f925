"""Interface between the service and an inference engine: token ids in, sampled tokens and log-probabilities out."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from deepmath_generator.engine_statistics import EngineStatistics
from deepmath_generator.policy_versions import Policy, PolicyVersions
from deepmath_generator.sampling_options import SamplingOptions


class FinishReason(Enum):
    """Condition that ended a request."""

    END_OF_TURN = "end of turn"
    TOOL_CALL = "tool call"  # or stopped by `on_tokens`
    STOP_SEQUENCE = "stop sequence"
    LENGTH = "length"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class SampledTokens:
    """Tokens sampled by one request, with the natural log-probability of each under the policy that sampled it."""

    token_ids: list[int]
    logprobs: list[float]
    finish: FinishReason
    policy_version: int

    def first(self, count: int) -> "SampledTokens":
        """Return the first `count` of these tokens; a negative number leaves that many out."""
        return replace(self, token_ids=self.token_ids[:count], logprobs=self.logprobs[:count])


class InferenceEngine(Protocol):
    """An engine with one model. Any number of `generate` calls may run at once; the engine batches them."""

    model: str
    context_length: int
    """Maximum number of tokens of prompt and output together."""
    tokenizer: Any
    policies: PolicyVersions
    """The policy versions that are loaded."""
    died: asyncio.Event
    """Set once the engine has failed for good."""
    statistics: EngineStatistics
    generation_config: Mapping[str, Any] = MappingProxyType({})
    """The model's `generation_config.json`."""

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
        """Sample up to `max_tokens` tokens after `prompt_ids`, until the end of the turn.

        One policy version samples all tokens. Cancelling the call aborts the request.

        Args:
            prompt_ids: Token ids of the context.
            sampling: Sampling parameters. Its seed is not used here.
            max_tokens: Maximum number of tokens to sample.
            stop_token: A token after which to stop too. The token that ends the turn or the call is part of the sample.
            seed: Seed of the request's random generator.
            deadline: Time of the event loop's clock at which to stop and return the tokens sampled so far.
            on_tokens: Receives the token ids as they are sampled, and may return True to stop. The engine may have
                sampled further tokens by then, which can be part of the sample.
            stop: Stop sequences. Not supported together with `stop_token`.
            on_text: Receives the text as it is sampled, without the end-of-turn token and the stop sequence.
            policy: The policy, which the caller holds (`PolicyVersions.hold`); by default the current one at the start.

        Raises:
            Unavailable: The engine has died.
        """
        ...

    async def load_adapter(self, version: int, content: str, folder: Path, run: str = "") -> None:
        """Sample new segments with the LoRA adapter in `folder`, which may be deleted afterwards.

        Args:
            version: Policy version of the adapter.
            content: Checksum that identifies the adapter among uploads of the same version.
            folder: Folder with the adapter in peft's format.
            run: The training run that made it.

        Raises:
            InvalidRequest: The adapter does not fit the model.
            WrongOrder: `version` is not new, or a checkpoint has replaced the weights that the adapter is for.
            Overloaded: Running segments use the maximum number of adapters.
            Unavailable: The engine has died.
        """
        ...

    async def load_checkpoint(self, version: int, folder: Path, run: str = "") -> None:
        """Sample all segments with the weights in `folder`, of `run`, after the running segments have ended.

        Raises:
            InvalidRequest: The checkpoint does not fit the model.
            WrongOrder: `version` is not new, or the run has lost its weights to another one.
            Unavailable: The engine has died, possibly while loading the weights.
        """
        ...

    async def restore_model(self, run: str) -> None:
        """Sample all segments with the model as loaded at the start, if checkpoints have replaced its weights.

        Raises:
            WrongOrder: `run` has lost its weights to another one.
            Unavailable: The engine has died, possibly while loading the weights.
        """
        ...
