"""Prompt templates: system texts for solving a problem with and without tools.

A model directory may contain its own `prompt.toml`; other models use `prompts/default.toml`:

    agent = "..."   # system text with tools; `{modules}` and `{examples}` are replaced
    plain = "..."   # system text without tools
    [[examples]]    # any number: a `question`, and its whole `solution` with calls and outputs
"""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from deepmath.errors import InvalidRequest
from deepmath.sandbox.allowed_modules import PROMPT_MODULES
from deepmath.user_files import read_text, user_path
from deepmath_generator.literal_encoding import encode_literally, encode_pieces

Mode = Literal["agent", "plain"]

_BUILT_IN = Path(str(files("deepmath_generator") / "prompts"))
_PLACEHOLDER = "\u2063question\u2063"  # stands for the question while the chat template is rendered


@dataclass(frozen=True)
class PromptTemplate:
    """System texts for the two modes."""

    name: str
    agent: str
    plain: str

    @classmethod
    def load(cls, model: str, override: str | None = None) -> "PromptTemplate":
        """Load the template of `model` (a directory or a hub name), or the built-in one or file named by `override`.

        Raises:
            InvalidRequest: The template does not exist or is malformed.
        """
        file = _find(model, override)
        try:
            fields = tomllib.loads(read_text(file))
            name = file.parent.name if file.name == "prompt.toml" else file.stem
            return cls(name, _agent_text(fields), fields["plain"].strip())
        except InvalidRequest as error:
            raise InvalidRequest(f"cannot load the prompt template: {error}") from None
        except (ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
            raise InvalidRequest(f"cannot load the prompt template {file}: {error!r}") from error

    def encode(self, tokenizer: Any, question: str, mode: Mode) -> list[int]:
        """Return the token ids of the prompt, up to the start of the assistant's turn.

        The question is encoded separately and as plain text: no special token in it is recognised.

        Raises:
            InvalidRequest: The model's chat template does not show the user's message once, as it is.
        """
        system = self.agent if mode == "agent" else self.plain
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": _PLACEHOLDER})
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        parts = rendered.split(_PLACEHOLDER)
        if len(parts) != 2:
            raise InvalidRequest(
                f"the model's chat template shows the question {len(parts) - 1} times instead of once; serve the model "
                "with a chat template for questions"
            )
        before, after = _encode_frame(tokenizer, *parts)
        return [*before, *encode_literally(tokenizer, question.strip()), *after]


@lru_cache(maxsize=8)
def _encode_frame(tokenizer: Any, *parts: str) -> list[list[int]]:
    """Return the token ids of the parts of a prompt around the question: the same for all questions of a day."""
    return encode_pieces(tokenizer, parts)


def _find(model: str, override: str | None) -> Path:
    if override is None:
        own = Path(model) / "prompt.toml"
        return own if own.is_file() else _BUILT_IN / "default.toml"
    path, built_in = user_path(override), _BUILT_IN / f"{override}.toml"
    return built_in if built_in.is_file() else path


def _agent_text(fields: dict[str, Any]) -> str:
    examples = "\n\n".join(
        f"Question: {example['question']}\n\n{example['solution'].strip()}" for example in fields.get("examples", [])
    )
    text: str = fields["agent"]
    return text.strip().replace("{modules}", ", ".join(PROMPT_MODULES)).replace("{examples}", examples)
