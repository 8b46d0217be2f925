"""Dialect of the model that is served."""

from collections.abc import Sequence
from typing import Any

from deepmath.dialects import Dialect, choose_dialect, find_dialect
from deepmath.dialects.dialect import Message


def model_dialect(tokenizer: Any, model: str, name: str | None = None) -> Dialect:
    """Return the dialect `name`, or the one that suits the model, with what it takes from the model's chat template.

    Raises:
        InvalidRequest: there is no such dialect, or the chat template lacks what it needs.
    """
    template = getattr(tokenizer, "chat_template", None) or ""
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values()}
    dialect = find_dialect(name) if name else choose_dialect(tokens, str(template), model)

    def render(messages: Sequence[Message]) -> str:
        rendered: str = tokenizer.apply_chat_template(
            messages, tools=dialect.tools, tokenize=False, add_generation_prompt=True
        )
        return rendered

    return dialect.bind(render)
