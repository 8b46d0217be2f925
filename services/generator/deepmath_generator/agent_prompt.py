"""How a question becomes token ids, and a snippet's result becomes text that the model reads.

A model directory may carry a `prompt.toml` of its own; every other model gets `prompts/default.toml`:

    agent = "..."   # system text with tools; `{modules}` and `{examples}` stand for what their names say
    plain = "..."   # system text without tools
    [[examples]]    # any number: a question and a whole solution that shows calls and outputs
"""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from deepmath.data.transcript import write_output
from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.sandbox.allowed_modules import ALLOWED_MODULES

Mode = Literal["agent", "plain"]

_DEFAULTS = Path(str(files("deepmath_generator") / "prompts"))
_MARK = "\u2063question\u2063"  # stands for the question while the chat template is rendered


@dataclass(frozen=True)
class PromptTemplate:
    """System texts of a model for its two manners."""

    name: str
    agent: str
    plain: str

    @classmethod
    def load(cls, model: str, override: str | None = None) -> "PromptTemplate":
        """Return the template for `model` (a path or a hub name), or the one that `override` (a name or file) says.

        Raises:
            InvalidRequest: there is no such template, or it is not of the form in this module's head.
        """
        file = _find(model, override)
        try:
            fields = tomllib.loads(file.read_text(encoding="utf-8"))
            name = file.parent.name if file.name == "prompt.toml" else file.stem
            return cls(name, _agent(fields), fields["plain"].strip())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, LookupError, AttributeError, TypeError) as error:
            raise InvalidRequest(f"cannot use the prompt template {file}: {error!r}") from error

    def encode(self, tokenizer: Any, question: str, mode: Mode) -> list[int]:
        """Return the prompt's token ids, up to where the assistant's turn begins.

        The question is encoded by itself and as plain text: a `<|im_end|>` or `<tool_call>` in it is no special token.
        """
        system = self.agent if mode == "agent" else self.plain
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": _MARK})
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        before, after = rendered.split(_MARK)
        ids: list[int] = tokenizer.encode(before, add_special_tokens=False)
        ids += encode_text(tokenizer, question.strip())
        ids += tokenizer.encode(after, add_special_tokens=False)
        return ids


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of `text`, in which nothing is a token of its own like `<|im_end|>` or `<tool_call>`."""
    ids: list[int] = []
    start = 0
    while match := _added_tokens(tokenizer).search(text, start):
        # Cut after its first character: neither half is the token. (`split_special_tokens` leaves `<tool_call>` whole.)
        ids += tokenizer.encode(text[start : match.start() + 1], add_special_tokens=False)
        start = match.start() + 1
    ids += tokenizer.encode(text[start:], add_special_tokens=False)
    return ids


@lru_cache(maxsize=8)
def _added_tokens(tokenizer: Any) -> re.Pattern[str]:
    longest_first = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def encode_tool_output(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of the tool segment that shows `text` to the model."""
    return encode_text(tokenizer, write_output(text))


def result_text(result: executor.SnippetResult) -> str:
    """Return what the model reads of a result: stdout, the value, then a line each for a cut and for a failure."""
    parts = [result.stdout.rstrip("\n")]
    if result.HasField("value"):
        parts.append(result.value)
    if cut := result.dropped_bytes.stdout + result.dropped_bytes.value:
        parts.append(f"({cut} bytes were cut out of the middle)")
    parts.append(_failure(result))
    return "\n".join(part for part in parts if part) or "(no output)"


def _failure(result: executor.SnippetResult) -> str:
    usage = result.usage
    match result.outcome:
        case executor.OUTCOME_OK:
            return ""
        case executor.OUTCOME_WALL_TIMEOUT:
            return f"TimeoutError: stopped after {usage.wall_ms / 1000:.0f} s; variables are lost"
        case executor.OUTCOME_CPU_TIMEOUT:
            return f"TimeoutError: stopped after {usage.cpu_ms / 1000:.0f} s of processor time; variables are lost"
        case executor.OUTCOME_OUTPUT_LIMIT:
            return "Error: too much output; variables are lost"
    lost = "; variables are lost" if result.state_lost else ""
    if result.HasField("exception"):
        return f"{result.exception.type}: {result.exception.message}{lost}"
    return f"Error: {executor.Outcome.Name(result.outcome).removeprefix('OUTCOME_').lower().replace('_', ' ')}{lost}"


def _find(model: str, override: str | None) -> Path:
    if override is None:
        own = Path(model) / "prompt.toml"
        return own if own.is_file() else _DEFAULTS / "default.toml"
    named = _DEFAULTS / f"{override}.toml"
    return named if named.is_file() else Path(override)


def _agent(fields: dict[str, Any]) -> str:
    examples = "\n\n".join(
        f"Question: {example['question']}\n\n{example['solution'].strip()}" for example in fields.get("examples", [])
    )
    text: str = fields["agent"]
    return text.strip().replace("{modules}", ", ".join(ALLOWED_MODULES)).replace("{examples}", examples)
