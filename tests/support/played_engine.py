"""A model that samples prepared tokens, a tokenizer with any tokens, and an executor that records the snippets."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from deepmath_generator.agent_loop import AgentLoop
from deepmath_generator.engine_statistics import EngineStatistics
from deepmath_generator.inference_engine import FinishReason, SampledTokens
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.policy_versions import PolicyVersions
from deepmath_generator.prompt_template import Mode
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.trajectory import Trajectory
from deepmath_generator.trajectory_budget import TrajectoryBudget

from deepmath.clients import ExecutorClient
from deepmath.dialects import DIALECTS, Dialect
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb

END_OF_TURN = "<|im_end|>"
OUTPUT = r"\boxed{7}"
"""Output of every snippet by default: a loop that takes it for the model's answer answers 7."""


class AnyTokenizer:
    """Its tokens are any bytes. Text that is encoded becomes one token per byte, distinct from those of the model.

    The end of the turn is an added token: text that spells it is encoded as it.
    """

    def __init__(self, end_of_turn: str = END_OF_TURN) -> None:
        self._ids: dict[tuple[bytes, bool], int] = {}
        self._contents: list[bytes] = []
        self._end_of_turn = end_of_turn
        self.eos_token_id = self.token(end_of_turn.encode())
        self.added_tokens_decoder: dict[int, Any] = {self.eos_token_id: _AddedToken(end_of_turn)}

    def token(self, content: bytes, by_model: bool = True) -> int:
        """Return the id of the token with this content."""
        if (content, by_model) not in self._ids:
            self._ids[content, by_model] = len(self._contents)
            self._contents.append(content)
        return self._ids[content, by_model]

    def encode(self, text: str, **_: Any) -> list[int]:
        first, *others = text.split(self._end_of_turn)
        ids = self._bytes(first)
        for other in others:
            ids += [self.eos_token_id, *self._bytes(other)]
        return ids

    def _bytes(self, text: str) -> list[int]:
        return [self.token(bytes([byte]), by_model=False) for byte in text.encode()]

    def decode(self, token_ids: Sequence[int], **_: Any) -> str:
        return b"".join(self._contents[token] for token in token_ids).decode(errors="replace")


@dataclass(frozen=True)
class _AddedToken:
    content: str
    special: bool = True


class PlayedEngine:
    """Samples `tokens`, whatever its context is, and from then on ends its turn.

    It samples again what the loop has not kept, except for a token in whose place the loop has kept none at all.
    """

    model = "played"
    context_length = 10_000_000

    def __init__(self, tokenizer: Any, tokens: Sequence[int], chunk: int = 1) -> None:
        self.tokenizer = tokenizer
        self.died = asyncio.Event()
        self.statistics = EngineStatistics()
        self.policies = PolicyVersions(self._unload, 3)
        self.sampled: list[list[int]] = []  # by each step
        self.skipped = 0
        """Number of the tokens that were never kept."""
        self.trajectory: Trajectory | None = None  # of the loop that samples
        self._left = list(tokens)
        self._chunk = chunk  # number of tokens that `on_tokens` receives at once
        self._context: list[int] = []  # of the last step
        self._segments = 0  # number of the trajectory's segments in it

    async def _unload(self, policy: object) -> None:
        pass

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: object,
        *,
        max_tokens: int,
        stop_token: int | None = None,
        on_tokens: Any = None,
        **_: Any,
    ) -> SampledTokens:
        await asyncio.sleep(0)
        self._forget_kept(prompt_ids)
        end = self.tokenizer.eos_token_id
        ids = [*self._left, end]
        ids = ids[: ids.index(end) + 1][:max_tokens]
        finish = FinishReason.END_OF_TURN if ids[-1] == end else FinishReason.LENGTH
        if stop_token in ids:
            ids, finish = ids[: ids.index(stop_token) + 1], FinishReason.TOOL_CALL
        for start in range(0, len(ids) if on_tokens else 0, self._chunk):
            if on_tokens(ids[start : start + self._chunk]):
                ids, finish = ids[: start + self._chunk], FinishReason.TOOL_CALL
                break
        self.sampled.append(ids)
        return SampledTokens(ids, [-0.5] * len(ids), finish, 0)

    def _forget_kept(self, prompt_ids: list[int]) -> None:
        """Remove from the tokens to sample those of the last step that are in the context now."""
        assert self.trajectory is not None
        kept, context = 0, self._context or list(self.trajectory.prompt_ids)
        for segment in self.trajectory.segments[self._segments :]:
            self._segments += 1
            context += segment.token_ids
            kept += len(segment.token_ids) if segment.source == pb.Segment.SOURCE_MODEL else 0
        assert prompt_ids == context
        self._context = context
        if not self.sampled:
            return
        last = self.sampled[-1]
        ended = kept == len(last) - 1 and last[-1] == self.tokenizer.eos_token_id
        skipped = kept == 0 and not ended
        self.skipped += skipped
        self._left = self._left[kept + ended + skipped :]


class _PlayedLoop(AgentLoop):
    def _start(self, *arguments: Any) -> Any:
        run = super()._start(*arguments)
        run.engine.trajectory = run.trajectory  # type: ignore[attr-defined]
        return run


class RecordingExecutor:
    """Stands in for `ExecutorClient`: every snippet succeeds and prints `output`."""

    def __init__(self, output: str) -> None:
        self.codes: list[str] = []
        self._output = output

    def session(self, seed: int, on_note: Any) -> "RecordingExecutor":
        return self

    losses = 0

    async def run(self, code: str, limits: object) -> executor.SnippetResult:
        self.codes.append(code)
        return executor.SnippetResult(outcome=executor.OUTCOME_OK, stdout=self._output)

    async def close(self) -> None:
        pass


@cache
def _metrics() -> GeneratorMetrics:
    return GeneratorMetrics()


async def play(
    engine: PlayedEngine,
    *,
    mode: Mode = "agent",
    prompt: str = "?",
    emit: Any = None,
    output: str = OUTPUT,
    dialect: Dialect = DIALECTS["tool-call"],
    client: ExecutorClient | None = None,
    prompt_ids: Sequence[int] | None = None,
    **budget: int,
) -> tuple[pb.Trajectory, list[str]]:
    """Run one trajectory. Return it, and the snippets that the executor received, unless it is a real `client`."""
    recording: Any = RecordingExecutor(output)
    limits = {
        "max_steps": 10_000,
        "max_step_tokens": 1_000_000,
        "max_tokens": 1_000_000,
        "snippet_ms": 1000,
        "executor_ms": 1_000_000,
        "wall_ms": 1_000_000,
    }
    loop = _PlayedLoop(engine, client or recording, 4096, _metrics(), dialect=dialect)  # type: ignore[arg-type]
    ids = list(prompt_ids or engine.tokenizer.encode(prompt, add_special_tokens=False))
    budgets = TrajectoryBudget(**limits | budget)
    return await loop.run(ids, mode, SamplingOptions(1.0, 1.0, 0, 1), budgets, emit), recording.codes
