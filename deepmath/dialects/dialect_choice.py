r"""Choice of a model's dialect: by its name, then by what its chat template writes.

The template alone cannot decide: that of Qwen2.5-Coder is that of Qwen2.5, but the model was trained on fences. Nor can
the vocabulary: `<tool_call>` is in that of DeepSeek's distilled Qwen models, and `<|python_tag|>` in that of Hermes 3,
whose templates do not use them.
"""

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from deepmath.dialects.dialect import Dialect, MalformedCall, Message, TranscriptPart
from deepmath.dialects.dialect_registry import DIALECTS
from deepmath.dialects.transcript import parse_transcript

RenderTools = Callable[[Sequence[Message], Sequence[dict[str, Any]] | None], str]
"""Renders messages and descriptions of tools by a model's chat template; raises if the template rejects them."""

_RAW_PYTHON = re.compile(r"deepmath|openmath|tiny-math", re.IGNORECASE)
_FENCES = re.compile(r"(?<!de)coder|code-?llama|codestral|math|(?<![a-z])to(?:ra|rl)(?![a-z])", re.IGNORECASE)
_CODE, _OUTPUT = "print(6 * 7)", "\u2063output\u2063"


@dataclass(frozen=True)
class DialectChoice:
    """A dialect, and why it was chosen."""

    dialect: Dialect
    reason: str


def choose_dialect(model: str, tokens: Container[str], chat_template: str, render: RenderTools) -> DialectChoice:
    r"""Return the dialect of a model, by the first rule that applies.

    1. A model named after DeepMath or OpenMath that has the token `<tool_call>` writes raw Python in it.
    2. A model named after code or mathematics, or whose template asks for `\boxed{}` as Qwen2.5-Math's does, writes
       fences: ToRA, NuminaMath, DeepSeekMath, Qwen-Coder.
    3. With the token `<|python_tag|>` and a template that shows outputs to the role `ipython` it is a Llama.
    4. A template that writes a call as JSON in `<tool_call>` and shows its output is Hermes'.
    5. Any other model gets fences: Mistral, Gemma, gpt-oss, models that call in XML, and base models.

    Args:
        model: Name of the model. An organisation before a slash does not count.
        tokens: The added tokens of the model's vocabulary.
        chat_template: The source of the model's chat template.
        render: The model's chat template.
    """
    name = model.rpartition("/")[2]
    if (found := _RAW_PYTHON.search(name)) and "<tool_call>" in tokens:
        return DialectChoice(DIALECTS["tool-call"], f"the model's name contains {found[0]}")
    if found := _FENCES.search(name):
        return DialectChoice(DIALECTS["python-fence"], f"the model's name contains {found[0]}")
    if "\\boxed" in chat_template:
        return DialectChoice(DIALECTS["python-fence"], r"its chat template asks for \boxed{}")
    if "<|python_tag|>" in tokens and "ipython" in _rendered(DIALECTS["python-tag"], render):
        return DialectChoice(DIALECTS["python-tag"], "its chat template shows outputs to the role ipython")
    if _writes_calls(DIALECTS["hermes"], render):
        return DialectChoice(DIALECTS["hermes"], "its chat template writes calls as JSON in <tool_call>")
    return DialectChoice(DIALECTS["python-fence"], "its chat template writes calls of no known dialect")


def _writes_calls(dialect: Dialect, render: RenderTools) -> bool:
    """Return whether a template writes a call that `dialect` reads, and the output after it."""
    text = _rendered(dialect, render)
    return _OUTPUT in text and any(_is_code(dialect, part) for part in parse_transcript(text, dialect))


def _is_code(dialect: Dialect, part: TranscriptPart) -> bool:
    try:
        return part.kind == "call" and dialect.code(part.text) == _CODE
    except MalformedCall:  # the template's own description of a call
        return False


def _rendered(dialect: Dialect, render: RenderTools) -> str:
    """Return a chat with a call and its output; empty if the template rejects it."""
    parts = [TranscriptPart("call", _CODE), TranscriptPart("output", _OUTPUT)]
    messages = list(dialect.example_turns("?", parts))
    if not any(message["role"] == "tool" for message in messages):
        messages.append({"role": "tool", "name": "python", "content": _OUTPUT})
    try:
        return render(messages, dialect.tools)
    except Exception:  # templates are programs, and reject messages by raising any exception
        return ""
