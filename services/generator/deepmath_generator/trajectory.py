"""What has happened to one question so far. Token ids are only ever appended."""

import asyncio
from dataclasses import dataclass, field

from deepmath.data.transcript import without_calls
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.answer_extraction import extract_boxed
from deepmath_generator.vllm_engine import SampledTokens

_END_OF_THOUGHT = "</think>"


@dataclass
class Trajectory:
    """A prompt and the segments after it; `ids` is the engine's context, prompt included."""

    prompt_ids: list[int]
    thinking: bool = False  # the prompt leaves the model inside <think>
    started: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    ids: list[int] = field(init=False)
    segments: list[pb.Segment] = field(default_factory=list)
    snippets: list[pb.SnippetRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    text: str = ""
    prose: str = ""  # what the model wrote outside its tool calls
    steps: int = 0
    model_tokens: int = 0
    tool_tokens: int = 0
    read_tokens: int = 0  # of all steps, each with all of the context before it
    executor_ms: float = 0.0

    def __post_init__(self) -> None:
        self.ids = list(self.prompt_ids)

    def append_sample(self, sample: SampledTokens, text: str, temperature: float) -> None:
        """Append what the model wrote in one step."""
        self.steps += 1
        self.read_tokens += len(self.ids)
        self.model_tokens += len(sample.token_ids)
        self.ids += sample.token_ids
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
        """Record a snippet that was run, and what it cost."""
        self.snippets.append(pb.SnippetRun(code=code, result=result))
        self.executor_ms += result.usage.wall_ms

    def append_tool_output(self, token_ids: list[int], text: str) -> None:
        """Append what the model gets to read of a snippet."""
        self.tool_tokens += len(token_ids)
        self.ids += token_ids
        self.text += text
        self.segments.append(pb.Segment(source=pb.Segment.SOURCE_TOOL, token_ids=token_ids, text=text))

    @property
    def tokens(self) -> int:
        """Tokens after the prompt, the model's and the tools'."""
        return self.model_tokens + self.tool_tokens

    @property
    def usage(self) -> pb.Usage:
        """Tokens of all steps so far, as the contract has them."""
        return pb.Usage(input_tokens=self.read_tokens, output_tokens=self.model_tokens)

    @property
    def settled_answer(self) -> str:
        """The answer in a box outside tool calls and outside unfinished thought, where drafts of answers stand."""
        _, end, conclusion = self.prose.rpartition(_END_OF_THOUGHT)
        return "" if self.thinking and not end else extract_boxed(conclusion)

    @property
    def answer(self) -> str:
        """The answer, or a draft of one where nothing better is there."""
        return self.settled_answer or extract_boxed(self.prose)

    def message(self, status: pb.Status.ValueType) -> pb.Trajectory:
        """Return the trajectory, ended with `status`, as the contract has it."""
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
