"""State of one trajectory: its token ids, segments, snippets and usage. Token ids are only ever appended."""

import asyncio
from dataclasses import dataclass, field

from deepmath.data.transcript import without_calls
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.answer_extraction import extract_boxed
from deepmath_generator.inference_engine import SampledTokens

_END_OF_THINKING = "</think>"


@dataclass
class Trajectory:
    """A prompt and the segments after it; `token_ids` is the engine's context, prompt included."""

    prompt_ids: list[int]
    thinking: bool = False  # whether the prompt ends inside <think>
    started: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    token_ids: list[int] = field(init=False)
    segments: list[pb.Segment] = field(default_factory=list)
    snippets: list[pb.SnippetRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    text: str = ""
    prose: str = ""  # model text outside tool calls
    steps: int = 0
    model_tokens: int = 0
    tool_tokens: int = 0
    input_tokens: int = 0  # sum of the context lengths of all steps
    executor_ms: float = 0.0

    def __post_init__(self) -> None:
        self.token_ids = list(self.prompt_ids)

    def append_sample(self, sample: SampledTokens, text: str, temperature: float) -> None:
        """Append the model segment of one step."""
        self.steps += 1
        self.input_tokens += len(self.token_ids)
        self.model_tokens += len(sample.token_ids)
        self.token_ids += sample.token_ids
        self.text += text
        self.prose += without_calls(text)
        self.segments.append(
            pb.Segment(
                source=pb.Segment.SOURCE_MODEL,
                token_ids=sample.token_ids,
                logprobs=sample.logprobs,
                policy_version=sample.policy_version,
                temperature=temperature,
                text=text,
            )
        )

    def append_snippet(self, code: str, result: executor.SnippetResult) -> None:
        """Record a snippet, its result and its executor time."""
        self.snippets.append(pb.SnippetRun(code=code, result=result))
        self.executor_ms += result.usage.wall_ms

    def append_tool_output(self, token_ids: list[int], text: str) -> None:
        """Append the tool segment that shows a snippet's output to the model."""
        self.tool_tokens += len(token_ids)
        self.token_ids += token_ids
        self.text += text
        self.segments.append(pb.Segment(source=pb.Segment.SOURCE_TOOL, token_ids=token_ids, text=text))

    @property
    def tokens(self) -> int:
        """Number of tokens after the prompt: model and tool tokens."""
        return self.model_tokens + self.tool_tokens

    @property
    def usage(self) -> pb.Usage:
        """Token usage of all steps so far."""
        return pb.Usage(input_tokens=self.input_tokens, output_tokens=self.model_tokens)

    @property
    def final_answer(self) -> str:
        """The boxed answer outside tool calls and outside unfinished thinking, which may contain drafts."""
        _, end, conclusion = self.prose.rpartition(_END_OF_THINKING)
        return "" if self.thinking and not end else extract_boxed(conclusion)

    @property
    def answer(self) -> str:
        """The final answer, or else a draft."""
        return self.final_answer or extract_boxed(self.prose)

    def to_proto(self, status: pb.Status.ValueType) -> pb.Trajectory:
        """Return the trajectory as a message with its final `status`."""
        return pb.Trajectory(
            status=status,
            answer=self.answer,
            prompt_token_ids=self.prompt_ids,
            segments=self.segments,
            snippets=self.snippets,
            text=self.text,
            model_tokens=self.model_tokens,
            tool_tokens=self.tool_tokens,
            seconds=asyncio.get_running_loop().time() - self.started,
            notes=self.notes,
            usage=self.usage,
        )
