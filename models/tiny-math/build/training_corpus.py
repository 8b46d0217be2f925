"""The training corpus: questions with an assistant turn that either calls Python or works by hand.

A turn consists of segments as the generator builds them: model text up to and including `</tool_call>`, then tool
output, and so on. Segments are tokenized separately, as in serving.
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
from deepmath.dialects import DIALECTS

END_OF_TURN = "<|im_end|>"
IGNORED = -100  # the label that torch's cross-entropy ignores


@dataclass(frozen=True)
class CorpusMixture:
    """Shares of the kinds of turns in the corpus, and their weights in the loss.

    A turn by hand is five times as long as a tool trace. At the frequency at which it should be sampled, it would
    dominate training, and the model would not learn to copy numbers into snippets. It is therefore rarer in the corpus,
    and the token that starts it has a larger weight.
    """

    plain_prompt: float = 0.07
    """Share of questions in plain mode, all answered by hand."""
    by_hand: float = 0.21
    """Share of agent-mode questions also answered by hand, which leaves GRPO something to improve."""
    decision_weight: float = 2.0
    """Loss weight of the first token of a turn by hand. Tokens of tool traces have weight 1."""
    by_hand_weight: float = 0.5
    """Loss weight of the other tokens of a turn by hand."""


@dataclass(frozen=True)
class TurnSegment:
    """A stretch of the assistant's turn, written by the model or by the tool."""

    text: str
    by_model: bool


@dataclass(frozen=True)
class TrainingTrace:
    """A question, its mode, and the complete assistant turn."""

    question: str
    mode: Mode
    segments: tuple[TurnSegment, ...]


@dataclass(frozen=True)
class TrainingExample:
    """Token ids of a trace, and labels: the same ids where they count in the loss, else `IGNORED`."""

    ids: list[int]
    labels: list[int]
    with_tool: bool


def traces(count: int, seed: int, mixture: CorpusMixture) -> Iterator[TrainingTrace]:
    """Draw `count` traces over instances of the train split."""
    random = Random(f"manners:{seed}")  # changing this string changes the trained model
    for instance in instances(count, "train", seed):
        mode: Mode = "plain" if random.random() < mixture.plain_prompt else "agent"
        by_hand = mode == "plain" or random.random() < mixture.by_hand
        question = instance.problem().problem
        yield TrainingTrace(question, mode, by_hand_turn(instance) if by_hand else tool_turn(instance))


def tool_turn(instance: ProblemInstance) -> tuple[TurnSegment, ...]:
    """Return the turn that computes the answer with Python."""
    snippets = instance.family.snippets(instance.parameters)
    segments = []
    for snippet, output in zip(snippets, run(snippets), strict=True):
        segments.append(TurnSegment(DIALECTS["tool-call"].write_call(snippet), by_model=True))
        segments.append(TurnSegment(output, by_model=False))
    return (*segments, TurnSegment(_conclusion(instance), by_model=True))


def by_hand_turn(instance: ProblemInstance) -> tuple[TurnSegment, ...]:
    """Return the turn that works out the answer in words and digits."""
    steps = instance.family.steps(instance.parameters).strip()
    return (TurnSegment(f"{steps}\n{_conclusion(instance)}", by_model=True),)


@cache
def run(snippets: tuple[str, ...]) -> tuple[str, ...]:
    """Run trusted snippets in one namespace; return the output that the executor would show for each."""
    namespace: dict[str, Any] = {}
    return tuple(_run_one(snippet, namespace) for snippet in snippets)


def encode(trace: TrainingTrace, tokenizer: Any, prompt: PromptTemplate) -> TrainingExample:
    """Return ids and labels of prompt and turn. Prompt and tool segments are excluded from the loss."""
    ids = prompt.encode(tokenizer, trace.question, trace.mode)
    labels = [IGNORED] * len(ids)
    for segment in trace.segments:
        if segment.by_model:
            piece = tokenizer.encode(segment.text, add_special_tokens=False)
            labels += piece
        else:
            piece = encode_tool_output(tokenizer, DIALECTS["tool-call"].output(segment.text, ""))
            labels += [IGNORED] * len(piece)
        ids += piece
    return TrainingExample(ids, labels, len(trace.segments) > 1)


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
