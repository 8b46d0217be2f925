"""Frame of a prompt: what a model's chat template writes around the question.

Templates differ in the system text: some reject it (Gemma, Mistral 7B v0.1), and some write one of their own if there
is none ("You are Qwen, created by Alibaba Cloud", Qwen2.5). A system text that the template does not show goes before
the first turn of the user; a text of the template's own is replaced by an empty one.
"""

from collections.abc import Sequence
from typing import Any

from deepmath.dialects.dialect import Message
from deepmath.errors import InvalidRequest

QUESTION = "\u2063question\u2063"
"""Stands for the question in the messages."""
_SYSTEM = "\u2063system\u2063"


def render_chat(tokenizer: Any, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None = None) -> str:
    """Return a chat as the model's template writes it, up to the start of the assistant's next turn.

    Raises whatever the template raises.
    """
    rendered: str = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
    return rendered


def opens_thinking(tokenizer: Any) -> bool:
    """Return whether the template starts the assistant's turn within thinking."""
    try:
        return render_chat(tokenizer, [{"role": "user", "content": "?"}]).rstrip().endswith("<think>")
    except Exception:  # templates are programs, and reject messages by raising any exception
        return False


def chat_frame(
    tokenizer: Any, system: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None
) -> tuple[str, str]:
    """Return the text before and after the question of a prompt that ends with the start of the assistant's turn.

    Args:
        tokenizer: The model's tokenizer.
        system: The system text; may be empty.
        messages: The turns of the chat. The last one has the text `QUESTION`.
        tools: Descriptions of tools for the template.

    Raises:
        InvalidRequest: the model has no chat template, or it rejects the prompt or does not show the question once.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InvalidRequest(
            "the model has no chat template, so it is not known how to ask it a question; serve a chat model, or put a "
            "chat_template.jinja into the model's directory"
        )
    frame = _Frame(tokenizer, list(messages), tools)
    rendered = frame.with_system(system) if system else frame.without_system()
    parts = rendered.split(QUESTION)
    if len(parts) != 2:
        raise InvalidRequest(
            f"the model's chat template shows the question {len(parts) - 1} times instead of once; serve the model "
            "with a chat template for questions"
        )
    return parts[0], parts[1]


class _Frame:
    """The turns of one prompt, as the template writes them with one system text or another."""

    def __init__(self, tokenizer: Any, messages: list[Message], tools: Sequence[dict[str, Any]] | None) -> None:
        self._tokenizer, self._messages, self._tools = tokenizer, messages, tools

    def with_system(self, system: str) -> str:
        """Return the prompt with the system text where the template shows it, else in the first turn of the user."""
        try:
            rendered = self._render([{"role": "system", "content": system}, *self._messages])
            if system in rendered:
                return rendered
        except InvalidRequest:
            pass
        first, *others = self._messages
        return self._render([first | {"content": f"{system}\n\n{first['content']}"}, *others])

    def without_system(self) -> str:
        """Return the prompt without any system text."""
        rendered = self._render(self._messages)
        try:
            marked = self._render([{"role": "system", "content": _SYSTEM}, *self._messages])
        except InvalidRequest:
            return rendered
        before, mark, after = marked.partition(_SYSTEM)
        text = rendered.removeprefix(before).removesuffix(after)
        has_own = bool(mark) and len(rendered) > len(before) + len(after) and before + text + after == rendered
        return self._render([{"role": "system", "content": ""}, *self._messages]) if has_own else rendered

    def _render(self, messages: list[Message]) -> str:
        try:
            return render_chat(self._tokenizer, messages, self._tools)
        except Exception as error:  # templates are programs, and reject messages by raising any exception
            raise InvalidRequest(f"the model's chat template rejects the prompt: {error}") from error
