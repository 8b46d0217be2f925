"""State of one trajectory: its token ids, segments, snippets and usage. Token ids are only ever appended."""

import asyncio
from dataclasses import dataclass, field

from deepmath.dialects import DIALECTS, Dialect
from deepmath.dialects.dialect_parser import CallParser, outside_thinking
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.answer_extraction import extract_boxed
from deepmath_generator.inference_engine import SampledTokens

_WHITE_SPACE = " \n\t\r"


@dataclass
class Trajectory:
    """A prompt and the segments after it; `token_ids` is the engine's context, prompt included."""

    prompt_ids: list[int]
    thinking: bool = False  # whether the prompt ends inside <think>
    dialect: Dialect = DIALECTS["tool-call"]
    started: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    token_ids: list[int] = field(init=False)
    segments: list[pb.Segment] = field(default_factory=list)
    snippets: list[pb.SnippetRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parser: CallParser = field(init=False)  # of the model's text
    steps: int = 0
    model_tokens: int = 0
    tool_tokens: int = 0
    input_tokens: int = 0  # sum of the context lengths of all steps
    executor_ms: float = 0.0

    def __post_init__(self) -> None:
        self.token_ids = list(self.prompt_ids)
        self.parser = CallParser(self.dialect.marks)

    def append_sample(self, sample: SampledTokens, text: str, temperature: float) -> None:
        """Append the model segment of one step, unless it has no tokens; `parser` has read its text."""
        self.steps += 1
        self.input_tokens += len(self.token_ids)
        self.model_tokens += len(sample.token_ids)
        self.token_ids += sample.token_ids
        if not sample.token_ids:
            self.complete_text(text)
            return
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

    def complete_text(self, text: str) -> None:
        """Add to the text of the last segment what is left of an incomplete character."""
        if text:
            self.segments[-1].text += text

    def append_snippet(self, code: str, result: executor.SnippetResult) -> None:
        """Record a snippet, its result and its executor time."""
        self.snippets.append(pb.SnippetRun(code=code, result=result))
        self.executor_ms += result.usage.wall_ms

    def append_tool_output(self, token_ids: list[int], text: str) -> None:
        """Append the tool segment that shows a snippet's output to the model."""
        self.tool_tokens += len(token_ids)
        self.token_ids += token_ids
        self.segments.append(pb.Segment(source=pb.Segment.SOURCE_TOOL, token_ids=token_ids, text=text))
        self.parser.follow(text)

    @property
    def last_text(self) -> str:
        """The text of the last segment."""
        return self.segments[-1].text if self.segments else ""

    @property
    def tokens(self) -> int:
        """Number of tokens after the prompt: model and tool tokens."""
        return self.model_tokens + self.tool_tokens

    @property
    def usage(self) -> pb.Usage:
        """Token usage of all steps so far."""
        return pb.Usage(input_tokens=self.input_tokens, output_tokens=self.model_tokens)

    def answers(self) -> tuple[str, str]:
        """Return the boxed answer outside tool calls and thinking, and the last outside tool calls: maybe a draft."""
        prose = self.parser.prose
        return extract_boxed(outside_thinking(prose, self.thinking)), extract_boxed(prose)

    def settled_answer(self) -> str:
        r"""Return the boxed answer outside tool calls and thinking that no further text can change.

        The last word is left out: the text `\boxed 4` may continue with another digit.
        """
        said = outside_thinking(self.parser.prose, self.thinking)
        return extract_boxed(said[: max(map(said.rfind, _WHITE_SPACE)) + 1])

    def to_proto(self, status: pb.Status.ValueType, answer: str) -> pb.Trajectory:
        """Return the trajectory as a message with its final `status` and its answer."""
        return pb.Trajectory(
            status=status,
            answer=answer,
            prompt_token_ids=self.prompt_ids,
            segments=self.segments,
            snippets=self.snippets,
            text="".join(segment.text for segment in self.segments),
            model_tokens=self.model_tokens,
            tool_tokens=self.tool_tokens,
            seconds=asyncio.get_running_loop().time() - self.started,
            notes=self.notes,
            usage=self.usage,
            dialect=self.dialect.name,
        )
