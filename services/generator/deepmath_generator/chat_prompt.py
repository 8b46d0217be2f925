"""Prompt of a chat: messages and functions rendered by the model's own chat template, and encoded."""

import json
import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from deepmath.dialects.dialect import Message
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.chat_frame import QUESTION, render_chat
from deepmath_generator.literal_encoding import added_tokens, encode_pieces, special_tokens, split_tokens

_ROLES = {
    pb.ChatMessage.ROLE_SYSTEM: "system",
    pb.ChatMessage.ROLE_USER: "user",
    pb.ChatMessage.ROLE_ASSISTANT: "assistant",
    pb.ChatMessage.ROLE_TOOL: "tool",
}


class LiteralMessages:
    """Converts messages for a chat template, and encodes what it writes.

    Messages are plain text: a `<|im_end|>` in them is not the special token. In the assistant's own messages, added
    tokens that are not special, such as Qwen3's `<tool_call>`, are recognised.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._cut = uuid4().hex  # marks, in the rendered text, where to encode the pieces separately

    def message(self, message: pb.ChatMessage, called: str = "") -> Message:
        """Return a message as chat templates read it; `called` is the function whose output it is."""
        role = _ROLES[message.role]
        tokens = special_tokens(self._tokenizer) if role == "assistant" else added_tokens(self._tokenizer)
        turn: Message = {"role": role, "content": self.text(message.content, tokens)}
        if message.calls:
            turn["tool_calls"] = [self._call(call, tokens) for call in message.calls]
        if message.call_id:
            turn["tool_call_id"] = self.text(message.call_id, tokens)
        if role == "tool":
            turn["name"] = called or "tool"  # Hermes 2 Pro's template needs one
        return turn

    def function(self, function: pb.Function) -> dict[str, Any]:
        """Return the description of a function."""
        parameters = json.loads(function.parameters_json or '{"type": "object", "properties": {}}')
        described = {"description": function.description, "parameters": parameters}
        return {"type": "function", "function": {"name": function.name, **self._texts(described)}}

    def text(self, text: str, tokens: re.Pattern[str] | None = None) -> str:
        """Return `text` with a cut in each token that is plain text there, by default any added token."""
        text = text.replace(QUESTION, f"{QUESTION[0]}{self._cut}{QUESTION[1:]}")
        return self._cut.join(split_tokens(tokens or added_tokens(self._tokenizer), text))

    def encode(self, rendered: str) -> list[int]:
        """Return the token ids of a rendered text."""
        return [token for ids in encode_pieces(self._tokenizer, rendered.split(self._cut)) for token in ids]

    def _call(self, call: pb.FunctionCall, tokens: re.Pattern[str]) -> dict[str, Any]:
        arguments = self._texts(json.loads(call.arguments_json or "{}"), tokens)
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

    def _texts(self, value: Any, tokens: re.Pattern[str] | None = None) -> Any:
        """Return JSON with cuts in all of its texts."""
        match value:
            case str():
                return self.text(value, tokens)
            case list():
                return [self._texts(item, tokens) for item in value]
            case dict():
                return {self.text(name, tokens): self._texts(item, tokens) for name, item in value.items()}
            case _:
                return value


def encode_chat(tokenizer: Any, messages: Sequence[pb.ChatMessage], functions: Sequence[pb.Function] = ()) -> list[int]:
    """Return the token ids of the prompt for the assistant's next turn.

    Raises:
        InvalidRequest: The chat template rejects the messages.
    """
    if not tokenizer.chat_template:
        raise InvalidRequest("the model has no chat template and cannot chat; serve a chat model")
    literal = LiteralMessages(tokenizer)
    called = {call.id: call.name for message in messages for call in message.calls}
    chat = [literal.message(message, called.get(message.call_id, "")) for message in messages]
    described = [literal.function(function) for function in functions]
    try:
        rendered = render_chat(tokenizer, chat, described or None)
    except Exception as error:  # templates are programs, and reject messages by raising any exception
        raise InvalidRequest(f"messages: the model's chat template rejects them: {error}") from error
    return literal.encode(rendered)
