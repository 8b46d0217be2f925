"""Rewards: pure functions of a trajectory and of whether its answer is correct.

They read the contract's segments and snippets, never marks in the trajectory's text: a model can write any mark. The
token ids of a segment cannot be decoded here (the tokenizer is the generator's), so each segment carries its text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.answer_normalization import same_canonical_form
from deepmath_trainer.run_config import RewardConfig

_RESULT_LINES = 4  # results come last; in a longer output any number would occur by chance
_MOST_ELEMENTS = 4  # likewise for a list
_WRAPPED = re.compile(r"[A-Za-z_][\w.]*\((.*)\)")  # np.int64(5), mpf('0.5')
_FRACTION = re.compile(r"Fraction\((-?\d+), (\d+)\)")


@dataclass(frozen=True)
class Outcome:
    """Everything that the reward depends on."""

    correct: bool | None
    """None: unknown, because there is no verdict or the trajectory ended by an infrastructure failure."""
    called: bool
    """There was a tool call with code, whatever its result. A call that was rejected unread has none."""
    executed: bool
    """A snippet succeeded and had output: an empty call succeeds too, without any."""
    used: bool
    """The output of a snippet that succeeded recurs in what the model wrote later, see `outcome`."""
    model_tokens: int
    """Tokens that the model sampled."""
    truncated: bool
    """It hit its token budget."""
    score: float | None = None
    """From 0 to 1, by the problem's own scorer (reasoning-gym); None if the answer was compared with a gold answer."""

    @property
    def credit(self) -> float:
        """The score if there is one, which may be partial credit; otherwise 1 if it is correct."""
        return float(bool(self.correct)) if self.score is None else self.score


@dataclass(frozen=True)
class Reward:
    """The weighted parts and their sum. `total` is None if there is no reward and must be no loss."""

    total: float | None
    accuracy: float = 0.0
    code: float = 0.0
    length: float = 0.0


def outcome(trajectory: pb.Trajectory, correct: bool | None, score: float | None = None) -> Outcome:
    """Return what the reward of `trajectory` depends on, for the verifier's verdict on its answer and its score.

    An output is used if it recurs, with the same value or as a text of its own (1 is not found in 213, 1.5 or -1), in
    the answer, or in prose or code that the model wrote after it. An output of one character counts in the answer only:
    a 1 occurs in almost any code. Of an output, the value and the last four lines count; of a line also what follows
    its last `=` or `:`; of a short list also its elements. This cannot distinguish a computed number from one that a
    snippet merely states.
    """
    failed = trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
    return Outcome(
        correct=None if failed else correct,
        called=any(run.code for run in trajectory.snippets),
        executed=any(map(_succeeded, trajectory.snippets)),
        used=_uses_an_output(trajectory),
        model_tokens=trajectory.model_tokens,
        truncated=trajectory.status == pb.STATUS_TOKEN_BUDGET,
        score=None if failed else score,
    )


def reward(outcome: Outcome, config: RewardConfig, max_tokens: int) -> Reward:
    """Return the reward of a trajectory with a budget of `max_tokens` tokens.

    The length part is the soft overlong punishment of DAPO (Yu et al. 2025, equation 13): 0 up to `length_free` model
    tokens, then linear down to -`length` at `max_tokens`.
    """
    if outcome.correct is None or (outcome.truncated and config.overlong == "mask"):
        return Reward(None)
    if outcome.truncated and config.overlong == "zero":
        return Reward(0.0)
    accuracy = config.accuracy * (outcome.credit if config.partial_credit else outcome.correct)
    code = config.code * bool(getattr(outcome, config.code_use))
    penalized = max(max_tokens - config.length_free, 1)
    length = -config.length * min(max(outcome.model_tokens - config.length_free, 0) / penalized, 1.0)
    return Reward(accuracy + code + length, accuracy, code, length)


def _succeeded(run: pb.SnippetRun) -> bool:
    result = run.result
    return result.outcome == executor.OUTCOME_OK and bool(result.stdout.strip() or result.value.strip())


def _uses_an_output(trajectory: pb.Trajectory) -> bool:
    answer, (written, starts) = trajectory.answer, _text_after_outputs(trajectory)
    for number, run in enumerate(trajectory.snippets):
        start = starts[number] if number < len(starts) else len(written)
        for result in _results(run.result) if _succeeded(run) else ():
            if same_canonical_form(answer, result) or _occurs(result, answer):
                return True
            if len(result) > 1 and _occurs(result, written, start):
                return True
    return False


def _text_after_outputs(trajectory: pb.Trajectory) -> tuple[str, list[int]]:
    """Return the model's text after the first output, and where in it the text after each output starts.

    The i-th tool segment is the output of the i-th snippet. An output that the budget cut off has no segment.
    """
    written: list[str] = []
    starts: list[int] = []
    length = 0
    for segment in trajectory.segments:
        is_output = segment.source == pb.Segment.SOURCE_TOOL
        if is_output or starts:
            written.append("\n" if is_output else segment.text)
            length += len(written[-1])
        if is_output:
            starts.append(length)
    return "".join(written), starts


def _results(result: executor.SnippetResult) -> Iterator[str]:
    """Yield the texts in an output that may be its result."""
    lines = [result.value, *reversed(result.stdout.splitlines()[-_RESULT_LINES:])]
    for line in filter(None, map(str.strip, lines)):
        for text in filter(None, {line, re.split("[=:]", line)[-1].strip()}):
            yield text
            yield from _elements(text)


def _elements(text: str) -> Iterator[str]:
    """Yield the number in the repr of a number, or the elements of a short list."""
    if fraction := _FRACTION.fullmatch(text):
        yield "/".join(fraction.groups())
    elif wrapped := _WRAPPED.fullmatch(text):
        yield wrapped[1].strip("'\"")
    elif text[:1] in "[({" and text[-1:] in "])}":
        elements = [element.strip() for element in text[1:-1].split(",")]
        if len(elements) <= _MOST_ELEMENTS:
            yield from filter(None, elements)


def _occurs(text: str, whole: str, start: int = 0) -> bool:
    """Return whether `text` is in `whole` after `start`, and not as a part of a longer number or name."""
    if not text or whole.find(text, start) < 0:  # the pattern is slow where there is nothing to find
        return False
    # A minus after an operand is an operator; anywhere else it is a sign, and -5 is not 5.
    before = r"(?<![\w.])(?<!\A-)(?<![\s(\[{,=:$]-)"
    after = r"(?!\w|\.\d|,\d{3}(?!\d))"
    return re.compile(before + re.escape(text) + after).search(whole, start) is not None
