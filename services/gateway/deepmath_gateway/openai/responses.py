"""`/v1/responses`: the response to one request, whole or as a stream of events. Responses are not stored."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from deepmath.errors import DeepMathError
from deepmath_gateway.event_stream import event_bytes
from deepmath_gateway.openai.openai_errors import stream_failure
from deepmath_gateway.openai.response_items import ResponseItems
from deepmath_gateway.openai.responses_request import ResponsesRequest
from deepmath_gateway.openai.turn_events import TurnEnded, TurnEvent
from deepmath_gateway.openai.turn_tokens import TokenUsage

Fields = dict[str, Any]


class ModelResponse:
    """The response to one request."""

    def __init__(self, request: ResponsesRequest) -> None:
        self._request = request
        self._items = ResponseItems()
        self._id, self._created = f"resp_{uuid4().hex}", int(time.time())
        self._end: TurnEnded | None = None
        self._sequence = 0

    async def collect(self, events: AsyncGenerator[TurnEvent]) -> Fields:
        """Return the whole response."""
        async for event in events:
            for _ in self._items.add(event):
                pass
            self._note(event)
        return self._fields(self._status())

    async def stream(self, events: AsyncGenerator[TurnEvent]) -> AsyncGenerator[bytes]:
        """Yield OpenAI's events; an error once the stream has begun is one of them.

        Raises:
            DeepMathError: The request failed before its first event.
        """
        started = False
        try:
            async with aclosing(events):
                async for event in events:
                    if not started:
                        started = True
                        for kind in ("response.created", "response.in_progress"):
                            yield self._event({"type": kind, "response": self._fields("in_progress")})
                    for fields in self._items.add(event):
                        yield self._event(fields)
                    self._note(event)
        except DeepMathError as error:
            if not started:
                raise
            failure = {"code": "server_error", "message": stream_failure(error)["message"]}
            failed = self._fields("failed") | {"error": failure}
            yield self._event({"type": "response.failed", "response": failed})
        else:
            status = self._status()
            yield self._event({"type": f"response.{status}", "response": self._fields(status)})

    def _note(self, event: TurnEvent) -> None:
        if isinstance(event, TurnEnded):
            self._end = event

    def _status(self) -> str:
        return "incomplete" if self._end and self._end.finish == "length" else "completed"

    def _event(self, fields: Fields) -> bytes:
        numbered = {"type": fields["type"], "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event_bytes(numbered, fields["type"])

    def _fields(self, status: str) -> Fields:
        request, end = self._request, self._end
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "model": request.model,
            "output": self._items.items if status != "in_progress" else [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": request.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": request.tool_choice or "auto",
            "tools": request.tools or [],
            "top_p": request.top_p,
            "truncation": request.truncation or "disabled",
            "usage": _usage(end) if end else None,
            "answer": end.answer if end else None,
        }


def _usage(end: TurnEnded) -> Fields:
    usage = TokenUsage.of([end.tokens])
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},  # not reported; clients need them
        "output_tokens": usage.sampled,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning, "tool_output_tokens": usage.tool_output},
        "total_tokens": usage.prompt + usage.sampled,
    }
