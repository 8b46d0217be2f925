"""`/v1/chat/completions`: the choices of one request, whole or as a stream of chunks."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from deepmath.errors import DeepMathError
from deepmath_gateway.event_stream import DONE, event_bytes
from deepmath_gateway.openai.completion_request import ChatCompletionRequest
from deepmath_gateway.openai.openai_errors import stream_failure
from deepmath_gateway.openai.served_models import ServedModel
from deepmath_gateway.openai.tool_activity import activity_fields, activity_text, ended_fields
from deepmath_gateway.openai.turn_events import (
    CodeEnded,
    CodeStarted,
    FunctionCalled,
    Said,
    Thought,
    TurnEnded,
    TurnEvent,
    TurnStarted,
)
from deepmath_gateway.openai.turn_tokens import TokenUsage

Fields = dict[str, Any]


@dataclass
class _Choice:
    """A choice so far."""

    index: int
    said: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    calls: list[Fields] = field(default_factory=list)
    activity: list[Fields] = field(default_factory=list)
    end: TurnEnded | None = None


class ChatCompletion:
    """The completion of one request."""

    def __init__(self, request: ChatCompletionRequest, model: ServedModel) -> None:
        self._request, self._model = request, model
        self._choices = [_Choice(index) for index in range(request.n or 1)]
        self._common = {
            "id": f"chatcmpl-{uuid4().hex}",
            "created": int(time.time()),
            "model": request.model,
        }

    async def collect(self, events: AsyncGenerator[TurnEvent]) -> Fields:
        """Return the whole completion."""
        async for event in events:
            self._add(event)
        completion = {**self._common, "object": "chat.completion"}
        completion |= {"choices": [self._choice_fields(choice) for choice in self._choices], "usage": self._usage()}
        if self._request.return_token_ids:
            completion["prompt_token_ids"] = self._prompt_ids()
        return completion

    async def stream(self, events: AsyncGenerator[TurnEvent]) -> AsyncGenerator[bytes]:
        """Yield the chunks, each as an event, and then the end of the stream; an error once it has begun is an event.

        Raises:
            DeepMathError: The request failed before its first event.
        """
        started = False
        try:
            async with aclosing(events):
                async for event in events:
                    for chunk in self._chunks(event):
                        started = True
                        yield event_bytes(chunk)
        except DeepMathError as error:
            if not started:
                raise
            yield event_bytes({"error": stream_failure(error)})
        else:
            if self._request.stream_options and self._request.stream_options.include_usage:
                yield event_bytes(self._chunk([], self._usage()))
        yield DONE

    def _add(self, event: TurnEvent) -> Fields:
        """Add an event to its choice, and return what it changes in the message: the delta of a chunk."""
        choice = self._choices[event.choice]
        match event:
            case Said(text=text):
                choice.said.append(text)
                return {"content": text}
            case Thought(text=text):
                choice.thought.append(text)
                return {"reasoning": text}
            case CodeStarted() | CodeEnded():
                return self._add_activity(choice, event)
            case FunctionCalled(call_id=call_id, name=name, arguments=arguments):
                call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
                choice.calls.append(call)
                return {"tool_calls": [{"index": len(choice.calls) - 1, **call}]}
            case TurnEnded():
                choice.end = event
            case TurnStarted():
                return {"role": "assistant", "content": ""}
        return {}

    def _add_activity(self, choice: _Choice, event: CodeStarted | CodeEnded) -> Fields:
        if self._request.tool_activity == "reasoning":
            choice.thought.append(activity_text(event))
            return {"reasoning": choice.thought[-1]}
        if isinstance(event, CodeStarted):
            choice.activity.append(activity_fields(f"ci_{uuid4().hex}", event.code))
            return {"tool_activity": [{"index": len(choice.activity) - 1, **choice.activity[-1]}]}
        changed = ended_fields(event)
        choice.activity[-1] |= changed
        return {"tool_activity": [{"index": len(choice.activity) - 1, "id": choice.activity[-1]["id"], **changed}]}

    def _chunks(self, event: TurnEvent) -> list[Fields]:
        """Return the chunks of an event. The first of a choice has its role."""
        choice, delta = self._choices[event.choice], self._add(event)
        chunks = []
        if delta:
            chunks.append(self._delta_chunk(choice, delta))
        if isinstance(event, TurnEnded):
            last = self._delta_chunk(choice, {}, event.finish)
            last["choices"][0] |= self._end_fields(event)
            if self._request.return_token_ids:
                last["prompt_token_ids"] = list(event.tokens.prompt_ids)
            chunks.append(last)
        return chunks

    def _delta_chunk(self, choice: _Choice, delta: Fields, finish: str | None = None) -> Fields:
        return self._chunk([{"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def _chunk(self, choices: list[Fields], usage: Fields | None = None) -> Fields:
        chunk = {**self._common, "object": "chat.completion.chunk", "choices": choices}
        if self._request.stream_options and self._request.stream_options.include_usage:
            chunk["usage"] = usage
        return chunk

    def _choice_fields(self, choice: _Choice) -> Fields:
        end = cast(TurnEnded, choice.end)
        said, thought = "".join(choice.said), "".join(choice.thought)
        message: Fields = {"role": "assistant", "content": said or (None if choice.calls else ""), "refusal": None}
        message["reasoning"] = thought.strip("\n") or None
        if choice.calls:
            message["tool_calls"] = choice.calls
        if self._request.tool_activity == "structured":
            message["tool_activity"] = choice.activity
        fields = {"index": choice.index, "message": message, "logprobs": None, "finish_reason": end.finish}
        return fields | self._end_fields(end)

    def _end_fields(self, end: TurnEnded) -> Fields:
        """Return the fields of a choice that its end decides."""
        fields: Fields = {"status": end.status}
        if self._model.mode == "agent":
            fields["answer"] = end.answer
        if self._request.logprobs:
            fields["logprobs"] = {"content": end.tokens.logprobs(), "refusal": None}
        return fields | end.tokens.to_fields() if self._request.return_token_ids else fields

    def _prompt_ids(self) -> list[int]:
        return list(cast(TurnEnded, self._choices[0].end).tokens.prompt_ids)

    def _usage(self) -> Fields:
        usage = TokenUsage.of(choice.end.tokens for choice in self._choices if choice.end)
        return {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.sampled,
            "total_tokens": usage.prompt + usage.sampled,
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning,
                "tool_output_tokens": usage.tool_output,
            },
        }
