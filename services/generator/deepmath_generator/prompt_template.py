"""Prompt templates: system texts for solving a problem with and without tools.

A model directory may contain its own `prompt.toml`; other models use `prompts/default.toml`:

    agent = "..."            # system text with tools; `{modules}`, `{calls}` and `{examples}` are replaced
    plain = "..."            # system text without tools
    dialect = "..."          # optional: name of the dialect
    show_examples = "..."    # optional: "system" or "turns"
    [[examples]]             # any number: a `question`, and its whole `solution` with calls and outputs

`{calls}` is how the dialect tells the model to write a call. Without `{examples}` the examples stand where the dialect
shows them, at the end of the system text or as turns of the chat.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from deepmath.dialects import DIALECTS, Dialect, find_dialect
from deepmath.dialects.dialect import Message, TranscriptPart
from deepmath.dialects.transcript import parse_transcript
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.sandbox.allowed_modules import PROMPT_MODULES
from deepmath.user_files import read_text, user_path
from deepmath_generator.chat_frame import QUESTION, chat_frame
from deepmath_generator.chat_prompt import LiteralMessages
from deepmath_generator.literal_encoding import encode_literally, encode_pieces

Mode = Literal["agent", "plain"]

_BUILT_IN = Path(str(files("deepmath_generator") / "prompts"))


@dataclass(frozen=True)
class SolvedExample:
    """A question and its whole solution, with calls and outputs as `tool-call` or the model's dialect writes them."""

    question: str
    solution: str

    def parts(self, dialect: Dialect) -> list[TranscriptPart]:
        """Return the parts of the solution. The text of a call is its code."""
        parts = list(parse_transcript(self.solution))
        if any(part.kind == "output" for part in parts):
            return parts
        own = parse_transcript(self.solution, dialect)
        return [replace(part, text=dialect.code(part.text)) if part.kind == "call" else part for part in own]


@dataclass(frozen=True)
class PromptTemplate:
    """System texts for the two modes, and solved examples for the one with tools."""

    name: str
    agent: str
    plain: str
    examples: tuple[SolvedExample, ...] = ()
    dialect: str | None = None
    """Name of the dialect. None: that of the model."""
    show_examples: Literal["system", "turns"] | None = None
    """Place of the examples. None: that of the dialect."""

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
            return cls._of(name, fields)
        except InvalidRequest as error:
            raise InvalidRequest(f"cannot load the prompt template: {error}") from None
        except (ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
            raise InvalidRequest(f"cannot load the prompt template {file}: {error!r}") from error

    @classmethod
    def _of(cls, name: str, fields: dict[str, Any]) -> "PromptTemplate":
        examples = tuple(
            SolvedExample(str(example["question"]).strip(), example["solution"].strip())
            for example in fields.get("examples", [])
        )
        if (place := fields.get("show_examples")) not in (None, "system", "turns"):
            raise InvalidRequest(f"show_examples is {place!r}; set it to system or turns")
        if not isinstance(dialect := fields.get("dialect"), str | None):
            raise InvalidRequest(f"dialect is {dialect!r}; set it to the name of a dialect")
        if dialect:
            find_dialect(dialect)
        return cls(name, fields["agent"].strip(), fields["plain"].strip(), examples, dialect, place)

    def encode(
        self,
        tokenizer: Any,
        question: str,
        mode: Mode,
        dialect: Dialect = DIALECTS["tool-call"],
        context: Sequence[pb.ChatMessage] = (),
    ) -> list[int]:
        """Return the token ids of the prompt, up to the start of the assistant's turn.

        The question is encoded separately and as plain text: no special token in it is recognised. The turns of
        `context` stand before it, and its system messages after the template's system text.

        Raises:
            InvalidRequest: The model has no chat template, or it does not show the user's message once, as it is.
        """
        if context:
            before, after = self._encode_context(tokenizer, mode, dialect, context)
        else:
            before, after = _encode_frame(tokenizer, self, mode, dialect, date.today())
        return [*before, *encode_literally(tokenizer, question.strip()), *after]

    def _encode_context(
        self, tokenizer: Any, mode: Mode, dialect: Dialect, context: Sequence[pb.ChatMessage]
    ) -> list[list[int]]:
        """Return the token ids before and after the question of a conversation."""
        literal = LiteralMessages(tokenizer)
        messages = [literal.message(message) for message in context]
        added = [message["content"].strip() for message in messages if message["role"] == "system"]
        turns = [message for message in messages if message["role"] != "system"]
        system, examples, tools = self.beginning(mode, dialect)
        frame = chat_frame(tokenizer, "\n\n".join(filter(None, [system, *added])), [*examples, *turns, _asked()], tools)
        return [literal.encode(part) for part in frame]

    def beginning(self, mode: Mode, dialect: Dialect) -> tuple[str, list[Message], Sequence[dict[str, Any]] | None]:
        """Return the system text, the turns with examples, and the tools."""
        if mode == "plain":
            return self.plain, [], None
        return self.system_text(dialect), self.turns(dialect), dialect.tools

    def turns(self, dialect: Dialect) -> list[Message]:
        """Return the examples as turns of a chat, if they are shown so."""
        if self._place(dialect) != "turns":
            return []
        examples = ((example.question, example.parts(dialect)) for example in self.examples)
        return [message for question, parts in examples for message in dialect.example_turns(question, parts)]

    def system_text(self, dialect: Dialect) -> str:
        """Return the system text with tools, and with the examples if they are shown there."""
        text = self.agent.replace("{modules}", ", ".join(PROMPT_MODULES)).replace("{calls}", dialect.instructions)
        if self._place(dialect) == "turns" or not self.examples:
            return text
        examples = "\n\n".join(
            f"Question: {example.question}\n\n{dialect.write(example.parts(dialect)).strip()}"
            for example in self.examples
        )
        return text.replace("{examples}", examples) if "{examples}" in text else f"{text}\n\nExamples:\n\n{examples}"

    def _place(self, dialect: Dialect) -> Literal["system", "turns"]:
        return self.show_examples or ("system" if "{examples}" in self.agent else dialect.examples)


@lru_cache(maxsize=16)
def _encode_frame(tokenizer: Any, template: PromptTemplate, mode: Mode, dialect: Dialect, _: date) -> list[list[int]]:
    """Return the token ids before and after the question: the same for all questions of a day."""
    system, examples, tools = template.beginning(mode, dialect)
    return encode_pieces(tokenizer, chat_frame(tokenizer, system, [*examples, _asked()], tools))


def _asked() -> Message:
    return {"role": "user", "content": QUESTION}


def _find(model: str, override: str | None) -> Path:
    if override is None:
        own = Path(model) / "prompt.toml"
        return own if own.is_file() else _BUILT_IN / "default.toml"
    path, built_in = user_path(override), _BUILT_IN / f"{override}.toml"
    return built_in if built_in.is_file() else path
