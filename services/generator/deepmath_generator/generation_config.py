"""Sampling parameters and end-of-turn tokens that a model recommends, in its `generation_config.json` and template."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)

_MARK = "\u2063turn\u2063"
_APPLIED: Mapping[str, tuple[Callable[[float], float], Callable[[float], bool]]] = {
    "temperature": (float, lambda value: 0 <= value <= 2),
    "top_p": (float, lambda value: 0 < value <= 1),
    "top_k": (lambda value: max(0, int(value)), lambda value: -1 <= value < 1 << 31 and value == int(value)),
}
"""By name: the conversion of a value, and whether it is in range."""
# Other parameters that change the sampling distribution, by the value that leaves it as it is.
_NOT_APPLIED: Mapping[str, object] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "bad_words_ids": None,
    "suppress_tokens": None,
}


def recommended_sampling(generation_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recommended temperature, top_p and top_k, as far as there are any in the range of a request.

    Nothing else is applied: the log-probabilities are those of the distribution after these three.
    """
    ignored = {name: generation_config.get(name) for name in _NOT_APPLIED}
    shown = [f"{name} {value!r:.80}" for name, value in ignored.items() if value not in (None, _NOT_APPLIED[name])]
    if shown:
        log.warning(
            "the model's generation_config.json has %s; not applied, because log-probabilities have to be those of the "
            "sampling distribution, after temperature, top-p and top-k",
            ", ".join(shown),
        )
    return {
        name: convert(value)
        for name, (convert, is_valid) in _APPLIED.items()
        if (value := generation_config.get(name)) is not None and _check(name, value, is_valid)
    }


def _check(name: str, value: object, is_valid: Callable[[float], bool]) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool) and is_valid(value):
        return True
    log.warning("the model's generation_config.json has %s %.80r, which is out of range; not applied", name, value)
    return False


def end_of_turn_token(tokenizer: Any) -> int | None:
    """Return the added token with which the chat template ends the assistant's turn; None if there is none.

    It ends a turn even if it is not among the `eos_token_id`s: base models that share the template of a chat model, and
    the first Llama 3, name only the end of the text there.
    """
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    try:
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    except Exception:  # templates are programs, and reject messages by raising any exception
        return None
    _, mark, end = rendered.rpartition(_MARK)
    added = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    found = [content for content in added if mark and end.lstrip().startswith(content)]
    return added[max(found, key=len)] if found else None
