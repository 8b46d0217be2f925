"""What a trajectory is rewarded for. Pure functions of the trajectory and of whether its answer is right."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.answer_normalization import same_canonical_form
from deepmath_trainer.run_config import RewardConfig

_RESULT_LINES = 4  # results come last; of a longer output any number would reappear by chance
_MOST_ELEMENTS = 4  # the same for a list
_WRAPPED = re.compile(r"[A-Za-z_][\w.]*\((.*)\)")  # np.int64(5), mpf('0.5')
_FRACTION = re.compile(r"Fraction\((-?\d+), (\d+)\)")


@dataclass(frozen=True)
class Outcome:
    """All that the reward depends on."""

    correct: bool | None
    """None: not to be told, because the answer could not be checked or the trajectory failed by our fault."""
    called: bool
    """There was a tool call, whatever became of it."""
    executed: bool
    """A snippet ran to its end and showed something: an empty call succeeds too, and tells nothing."""
    used: bool
    """The output of a snippet that ran to its end reappears in what the model wrote later, see `outcome`."""
    model_tokens: int
    """Tokens that the model sampled."""
    truncated: bool
    """It hit its token budget."""


@dataclass(frozen=True)
class Reward:
    """The parts, weighted, and their sum. `total` is None where there is no reward and must be no loss."""

    total: float | None
    accuracy: float = 0.0
    code: float = 0.0
    length: float = 0.0


def outcome(trajectory: pb.Trajectory, correct: bool | None) -> Outcome:
    """Return what `trajectory` is rewarded for; `correct` is the verifier's verdict on its answer.

    An output is used where it stands, with the same value or as a text of its own (a 1 is not found in 213, 1.5 or
    -1), in the answer, or in the prose or the code that the model wrote after it. An output of one character counts
    in the answer only: a 1 stands in almost any code. Of an output the value and the last four lines count, of a line
    also what follows its last `=` or `:`, and of a short list its elements. This cannot tell a computed number from
    one that a snippet merely states.
    """
    failed = trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
    return Outcome(
        correct=None if failed else correct,
        called=bool(trajectory.snippets),
        executed=any(map(_succeeded, trajectory.snippets)),
        used=_uses_an_output(trajectory),
        model_tokens=trajectory.model_tokens,
        truncated=trajectory.status == pb.STATUS_TOKEN_BUDGET,
    )


def reward(outcome: Outcome, config: RewardConfig, max_tokens: int) -> Reward:
    """Return the reward of a trajectory that had `max_tokens` tokens to spend.

    The length part is the overlong penalty of DAPO (Yu et al. 2025, equation 13): 0 up to `length_free` model
    tokens, then linear down to -`length` at `max_tokens`.
    """
    if outcome.correct is None or (outcome.truncated and config.overlong == "mask"):
        return Reward(None)
    if outcome.truncated and config.overlong == "zero":
        return Reward(0.0)
    accuracy = config.accuracy * outcome.correct
    code = config.code * bool(getattr(outcome, config.code_use))
    paid = max(max_tokens - config.length_free, 1)
    length = -config.length * min(max(outcome.model_tokens - config.length_free, 0) / paid, 1.0)
    return Reward(accuracy + code + length, accuracy, code, length)


def _succeeded(run: pb.SnippetRun) -> bool:
    result = run.result
    return result.outcome == executor.OUTCOME_OK and bool(result.stdout.strip() or result.value.strip())


def _uses_an_output(trajectory: pb.Trajectory) -> bool:
    answer, written = trajectory.answer, _written_after(trajectory)
    for at, run in enumerate(trajectory.snippets):
        later = "\n".join(written[at:])
        for result in _results(run.result) if _succeeded(run) else ():
            if same_canonical_form(answer, result) or _stands_in(result, answer):
                return True
            if len(result) > 1 and _stands_in(result, later):
                return True
    return False


def _written_after(trajectory: pb.Trajectory) -> list[str]:
    """Return the model's text from each output to the next; nothing for an output that the budget cut off."""
    written: list[str] = []
    for segment in trajectory.segments:
        if segment.source == pb.Segment.SOURCE_TOOL:
            written.append("")
        elif written:
            written[-1] += segment.text
    return written


def _results(result: executor.SnippetResult) -> Iterator[str]:
    """What in an output can be taken for its result."""
    lines = [result.value, *reversed(result.stdout.splitlines()[-_RESULT_LINES:])]
    for line in filter(None, map(str.strip, lines)):
        for text in filter(None, {line, re.split("[=:]", line)[-1].strip()}):
            yield text
            yield from _elements(text)


def _elements(text: str) -> Iterator[str]:
    """The number within the repr of a number, the elements of a short list."""
    if fraction := _FRACTION.fullmatch(text):
        yield "/".join(fraction.groups())
    elif wrapped := _WRAPPED.fullmatch(text):
        yield wrapped[1].strip("'\"")
    elif text[:1] in "[({" and text[-1:] in "])}":
        elements = [element.strip() for element in text[1:-1].split(",")]
        if len(elements) <= _MOST_ELEMENTS:
            yield from filter(None, elements)


def _stands_in(text: str, whole: str) -> bool:
    """Whether `text` is in `whole` with nothing at its ends that makes it part of a longer number or name."""
    # A minus after an operand is an operator; anywhere else it is a sign, and -5 is not 5.
    before = r"(?<![\w.])(?<!\A-)(?<![\s(\[{,=:$]-)"
    after = r"(?!\w|\.\d|,\d{3}(?!\d))"
    return bool(text) and re.search(before + re.escape(text) + after, whole) is not None
