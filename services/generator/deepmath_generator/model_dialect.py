"""Dialect of the model that is served."""

import logging
from functools import partial
from typing import Any

from deepmath.dialects import Dialect, DialectChoice, choose_dialect, find_dialect
from deepmath_generator.chat_frame import render_chat

log = logging.getLogger(__name__)


def model_dialect(tokenizer: Any, model: str, option: str | None = None, template: str | None = None) -> Dialect:
    """Return the dialect named by the `option`, or by the prompt `template`, or else the one that suits the model.

    It has what it takes from the model's chat template. The choice is logged.

    Raises:
        InvalidRequest: there is no such dialect, or the chat template lacks what it needs.
    """
    if option:
        choice = DialectChoice(find_dialect(option), "set by --dialect")
    elif template:
        choice = DialectChoice(find_dialect(template), "set by the prompt template")
    else:
        tokens = {token.content for token in tokenizer.added_tokens_decoder.values()}
        source = str(getattr(tokenizer, "chat_template", None) or "")
        choice = choose_dialect(model, tokens, source, partial(render_chat, tokenizer))
    log.info("dialect %s: %s", choice.dialect.name, choice.reason)
    return choice.dialect.bind(partial(render_chat, tokenizer, tools=choice.dialect.tools))
