"""Events in the turns of a request: one or several choices, whose events interleave."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from deepmath.executor.v1 import executor_pb2
from deepmath_gateway.openai.turn_tokens import TurnTokens

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The model has begun to write. What it writes first may be a call, whose text is no event."""

    choice: int


@dataclass(frozen=True, slots=True)
class Said:
    """Text of the answer."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Text of thinking."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True)
class CodeStarted:
    """The agent runs code."""

    choice: int
    code: str


@dataclass(frozen=True, slots=True)
class CodeEnded:
    """The code has run."""

    choice: int
    text: str
    """What the model reads of it."""
    result: executor_pb2.SnippetResult


@dataclass(frozen=True, slots=True)
class FunctionCalled:
    """The model calls a function of the client."""

    choice: int
    call_id: str
    name: str
    arguments: str
    """A JSON object."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn of a choice has ended."""

    choice: int
    finish: Finish
    tokens: TurnTokens
    status: str
    """Why it ended, in the generator's terms: "answered", "token_budget", "end_of_turn", ..."""
    answer: str = ""
    """The agent's answer."""


TurnEvent: TypeAlias = TurnStarted | Said | Thought | CodeStarted | CodeEnded | FunctionCalled | TurnEnded
