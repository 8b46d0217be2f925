"""The training corpus: questions with an assistant turn that either computes with Python or works by hand.

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
from typing import Any, Literal

from deepmath_generator.prompt_template import Mode, PromptTemplate
from deepmath_generator.tool_output import encode_tool_output
from mistaken_code import MISTAKES

from deepmath.data.synthetic import FAMILIES, ProblemInstance
from deepmath.data.synthetic.problem_generator import draw_instance
from deepmath.dialects import DIALECTS

END_OF_TURN = "<|im_end|>"

Kind = Literal["computed", "by hand"]


@dataclass(frozen=True)
class CorpusMixture:
    """Shares of the kinds of turns in the corpus, by difficulty from the easiest."""

    difficulty: tuple[float, ...] = (0.45, 0.3, 0.25)
    """Shares of the difficulties."""
    plain_mode: tuple[float, ...] = (0.5, 0.5, 0.3)
    """Shares of questions in plain mode, all answered by hand. Hard ones are long and seldom come out right."""
    by_hand: tuple[float, ...] = (0.35, 0.3, 0.25)
    """Shares of agent-mode questions also answered by hand, which leaves GRPO something to improve."""


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

    @property
    def kind(self) -> Kind:
        """The way to the answer."""
        return "computed" if len(self.segments) > 1 else "by hand"


@dataclass(frozen=True)
class TrainingExample:
    """Token ids of a trace, and the weight of each in the loss: 0 for the prompt and for outputs of the tool."""

    ids: list[int]
    weights: list[float]
    kind: Kind


def traces(count: int, seed: int, mixture: CorpusMixture) -> Iterator[TrainingTrace]:
    """Draw `count` traces over instances of the train split, in turn over the families."""
    random = Random(f"corpus:{seed}")
    grades = range(len(mixture.difficulty))
    for index in range(count):
        (grade,) = random.choices(grades, mixture.difficulty)
        instance = draw_instance(FAMILIES[index % len(FAMILIES)], grade + 1, "train", random)
        mode: Mode = "plain" if random.random() < mixture.plain_mode[grade] else "agent"
        by_hand = mode == "plain" or random.random() < mixture.by_hand[grade]
        question = instance.problem().problem
        yield TrainingTrace(question, mode, by_hand_turn(instance) if by_hand else tool_turn(instance, random))


def tool_turn(instance: ProblemInstance, random: Random) -> tuple[TurnSegment, ...]:
    """Return a turn that computes with Python: the answer, or by the family's mistake something else."""
    family, parameters = instance.family, instance.parameters
    mistake = MISTAKES[family.name]
    if random.random() < mistake.share:
        snippets = tuple(snippet.format(**parameters) for snippet in mistake.snippets)
        outputs = run(snippets)
        answer = outputs[-1]
    else:
        snippets, answer = family.snippets(parameters), family.answer_text(parameters)
        # The last snippet prints the answer: tests/data/test_problem_families.py. To run all of them takes long.
        outputs = (*run(snippets[:-1]), answer)
    segments = []
    for snippet, output in zip(snippets, outputs, strict=True):
        segments.append(TurnSegment(DIALECTS["tool-call"].write_call(snippet), by_model=True))
        segments.append(TurnSegment(output, by_model=False))
    return (*segments, TurnSegment(_conclusion(answer), by_model=True))


def by_hand_turn(instance: ProblemInstance) -> tuple[TurnSegment, ...]:
    """Return the turn that works out the answer in words and digits."""
    steps = instance.family.steps(instance.parameters).strip()
    conclusion = _conclusion(instance.family.answer_text(instance.parameters))
    return (TurnSegment(f"{steps}\n{conclusion}", by_model=True),)


@cache
def run(snippets: tuple[str, ...]) -> tuple[str, ...]:
    """Run trusted snippets in one namespace; return the output that the executor would show for each."""
    namespace: dict[str, Any] = {}
    return tuple(_run_one(snippet, namespace) for snippet in snippets)


def encode(trace: TrainingTrace, tokenizer: Any, prompt: PromptTemplate) -> TrainingExample:
    """Return ids and weights of prompt and turn."""
    ids = prompt.encode(tokenizer, trace.question, trace.mode)
    weights = [0.0] * len(ids)
    for segment in trace.segments:
        if segment.by_model:
            piece = tokenizer.encode(segment.text, add_special_tokens=False)
        else:
            piece = encode_tool_output(tokenizer, DIALECTS["tool-call"].output(segment.text, ""))
        weights += [float(segment.by_model)] * len(piece)
        ids += piece
    return TrainingExample(ids, weights, trace.kind)


def _conclusion(answer: str) -> str:
    return f"The answer is \\boxed{{{answer}}}.{END_OF_TURN}"


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
