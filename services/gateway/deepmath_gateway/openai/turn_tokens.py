"""The tokens of a turn: the generator's own ids, mask and log-probabilities, and their numbers."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.turn_splitter import TurnSplitter
from deepmath.generator.v1 import generator_pb2 as pb

_SHORT_TOKENS = 500  # a few milliseconds
_MODEL = pb.Segment.SOURCE_MODEL


@dataclass(frozen=True)
class TurnTokens:
    """The prompt and the segments of a turn. Segments of the model have the texts of their tokens."""

    prompt_ids: Sequence[int]
    segments: Sequence[pb.Segment]
    marks: CallMarks | None
    """The marks of calls of Python; None for a turn without."""
    thinking: bool
    """Whether the turn starts within thinking."""

    @property
    def sampled(self) -> int:
        """Number of tokens that the model sampled."""
        return sum(len(segment.token_ids) for segment in self.segments if segment.source == _MODEL)

    @property
    def tool_output(self) -> int:
        """Number of tokens of tool outputs."""
        return sum(len(segment.token_ids) for segment in self.segments if segment.source != _MODEL)

    async def count(self) -> None:
        """Count the tokens, those of a long turn in a thread: the event loop is not to wait for it."""
        if self.sampled > _SHORT_TOKENS:
            await asyncio.to_thread(lambda: self.reasoning)

    @cached_property
    def reasoning(self) -> int:
        """Number of sampled tokens in thinking and calls of Python, with those of their marks."""
        splitter = TurnSplitter(self.marks, self.thinking)
        count = 0
        for segment in self.segments:
            if segment.source == _MODEL:
                for text in segment.token_texts:
                    before = splitter.thinking or splitter.in_call
                    splitter.feed(text)
                    count += before or splitter.thinking or splitter.in_call
            else:
                splitter.follow(thinking=segment.text.rstrip().endswith("<think>"))
        return count

    def to_fields(self) -> dict[str, Any]:
        """Return the fields of a choice for `return_token_ids`: flat lists of the same length, and the segments."""
        ids: list[int] = []
        mask: list[int] = []
        logprobs: list[float | None] = []
        for segment in self.segments:
            is_sampled = segment.source == _MODEL
            ids += segment.token_ids
            mask += [int(is_sampled)] * len(segment.token_ids)
            logprobs += segment.logprobs if is_sampled else [None] * len(segment.token_ids)
        return {
            "token_ids": ids,
            "token_mask": mask,
            "token_logprobs": logprobs,
            "segments": [_segment_fields(segment) for segment in self.segments],
        }

    def logprobs(self) -> list[dict[str, Any]]:
        """Return OpenAI's log-probabilities of the sampled tokens."""
        return [
            {"token": text, "logprob": logprob, "bytes": list(text.encode()) if text else None, "top_logprobs": []}
            for segment in self.segments
            if segment.source == _MODEL
            for text, logprob in zip(segment.token_texts, segment.logprobs, strict=True)
        ]


@dataclass
class TokenUsage:
    """Number of tokens of a request: the prompt once, and the turns of all choices."""

    prompt: int = 0
    sampled: int = 0
    reasoning: int = 0
    tool_output: int = 0

    @classmethod
    def of(cls, turns: Iterable[TurnTokens]) -> "TokenUsage":
        """Return the usage of all choices."""
        usage = cls()
        for tokens in turns:
            usage.prompt = len(tokens.prompt_ids)
            usage.sampled += tokens.sampled
            usage.reasoning += tokens.reasoning
            usage.tool_output += tokens.tool_output
        return usage


def _segment_fields(segment: pb.Segment) -> dict[str, Any]:
    fields: dict[str, Any] = {"source": "tool", "tokens": len(segment.token_ids)}
    if segment.source == _MODEL:
        fields |= {"source": "model", "policy_version": segment.policy_version, "temperature": segment.temperature}
    return fields
