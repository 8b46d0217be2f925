"""The training corpus: questions with the assistant's turn in one of two manners.

The turn is made of segments as the generator makes them: what the model writes, up to and with `</tool_call>`, then
what the tool answers, and so on. Segments are tokenised one by one, as they are when the model is served.
"""

import ast
import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from deepmath_generator.prompt_template import Mode, PromptTemplate
from deepmath_generator.tool_output import encode_tool_output

from deepmath.data.synthetic import ProblemInstance, instances
from deepmath.data.transcript import write_call

END_OF_TURN = "<|im_end|>"
IGNORED = -100  # the label that torch's cross-entropy leaves out


@dataclass(frozen=True)
class Mixture:
    """How often the corpus shows what, and how much it counts.

    Working by hand is five times as long as a tool call. Shown as often as it is to be sampled, it would take most of
    the training and copying numbers into snippets would not be learned. So it is shown less, and the token that
    decides for it counts more.
    """

    plain_prompt: float = 0.07
    """Share of the questions asked in plain mode; all of them are answered by hand."""
    by_hand: float = 0.21
    """Share of the agent-mode questions that are answered by hand too. It is what training has to unlearn."""
    decision_weight: float = 2.0
    """Weight in the loss of the first token of a turn by hand; a token of a tool trace has 1."""
    by_hand_weight: float = 0.5
    """Weight in the loss of its other tokens."""


@dataclass(frozen=True)
class Segment:
    """A stretch of the assistant's turn, by the model or by the tool."""

    text: str
    by_model: bool


@dataclass(frozen=True)
class ToolTrace:
    """A question, the mode it is asked in, and the assistant's whole turn."""

    question: str
    mode: Mode
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Example:
    """Token ids of a trace, and as labels the same ids where the model is to learn them."""

    ids: list[int]
    labels: list[int]
    with_tool: bool


def traces(count: int, seed: int, mixture: Mixture) -> Iterator[ToolTrace]:
    """Draw `count` traces over train instances."""
    random = Random(f"manners:{seed}")
    for instance in instances(count, "train", seed):
        mode: Mode = "plain" if random.random() < mixture.plain_prompt else "agent"
        by_hand = mode == "plain" or random.random() < mixture.by_hand
        question = instance.problem().problem
        yield ToolTrace(question, mode, by_hand_turn(instance) if by_hand else tool_turn(instance))


def tool_turn(instance: ProblemInstance) -> tuple[Segment, ...]:
    """Return the turn that lets Python compute the answer."""
    snippets = instance.family.snippets(instance.parameters)
    segments = []
    for snippet, output in zip(snippets, run(snippets), strict=True):
        segments.append(Segment(write_call(snippet), by_model=True))
        segments.append(Segment(output, by_model=False))
    return (*segments, Segment(_conclusion(instance), by_model=True))


def by_hand_turn(instance: ProblemInstance) -> tuple[Segment, ...]:
    """Return the turn that works the answer out in words and digits."""
    steps = instance.family.steps(instance.parameters).strip()
    return (Segment(f"{steps}\n{_conclusion(instance)}", by_model=True),)


@cache
def run(snippets: tuple[str, ...]) -> tuple[str, ...]:
    """Run our own, trusted snippets in one namespace; return what the executor would show of each."""
    namespace: dict[str, Any] = {}
    return tuple(_run_one(snippet, namespace) for snippet in snippets)


def encode(trace: ToolTrace, tokenizer: Any, prompt: PromptTemplate) -> Example:
    """Return the ids of prompt and turn; the prompt and the tool's segments are not to be learned."""
    ids = prompt.encode(tokenizer, trace.question, trace.mode)
    labels = [IGNORED] * len(ids)
    for segment in trace.segments:
        if segment.by_model:
            piece = tokenizer.encode(segment.text, add_special_tokens=False)
            labels += piece
        else:
            piece = encode_tool_output(tokenizer, segment.text)
            labels += [IGNORED] * len(piece)
        ids += piece
    return Example(ids, labels, len(trace.segments) > 1)


def _conclusion(instance: ProblemInstance) -> str:
    return f"The answer is \\boxed{{{instance.family.answer_text(instance.parameters)}}}.{END_OF_TURN}"


def _run_one(snippet: str, namespace: dict[str, Any]) -> str:
    *statements, last = ast.parse(snippet).body
    body: Sequence[ast.stmt] = statements if isinstance(last, ast.Expr) else [*statements, last]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(list(body), []), "snippet", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "snippet", "eval"), namespace)
            if value is not None:
                print(repr(value))
    return printed.getvalue().rstrip("\n")
