"""`deepmath grade`: the verdict on an answer, with its reason, as training, evaluation and solve give it."""

import os
from collections import Counter
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.cli.pair_file import GradingPair, read_pairs
from deepmath.errors import InvalidRequest
from deepmath.exit_codes import EXIT_FAILURE
from deepmath.grading.verdict import Reason, Verdict
from deepmath.grading.verifier import Verifier
from deepmath.printable_text import json_line, print_error, printable_line
from deepmath.sandbox.isolation.layers import Level

app = command_app()

_WORDS = {True: "correct", False: "incorrect", None: "no verdict"}
_NOT_A_PAIR = "not a pair"
_SHOWN = 40  # characters of an answer in a line of a file's output


@app.command(context_settings={"ignore_unknown_options": True})  # an answer may start with a minus sign
def grade(
    gold: Annotated[str | None, typer.Argument(help="Gold answer.", show_default=False)] = None,
    answer: Annotated[
        str | None,
        typer.Argument(help=r"Answer to grade, or a text with the answer in a \boxed{}.", show_default=False),
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="JSON lines with `gold` and `answer`, or - for stdin.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per pair.")] = False,
    verify_seconds: Annotated[float, typer.Option(min=0.1, help="Timeout for verifying one answer, in seconds.")] = 5.0,
    verify_workers: Annotated[
        int | None, typer.Option(min=1, help="Number of sandboxes.", show_default="one per processor, at most 8")
    ] = None,
    require: Annotated[
        Level | None,
        typer.Option(
            help="Refuse sandboxes below this isolation level.", show_default="DEEPMATH_GRADING_REQUIRE, or pod"
        ),
    ] = None,
) -> None:
    r"""Grade one answer, or a file of answers, as training and evaluation do.

    Prints whether the answer equals the gold answer, and the reason. There is no verdict if the gold answer cannot be
    read as mathematics. Of a text with boxes, the last \boxed{} is graded, as in solve; any other text is the answer
    itself. In a file, `gold` may be text, a number, null (no verdict), or a list of all answers in any order.
    Expressions are compared in a sandbox.

    --json prints `gold`, `answer`, `verdict` (true, false or null), `reason` and `seconds`, in the order of the pairs.
    A line that is not a pair is reported and the others are graded. Exit status 1 if there is such a line, or if a
    comparison failed; an incorrect answer is no failure.
    """
    if unknown := [text for text in (gold, answer) if text and text.startswith("--")]:
        raise InvalidRequest(f"there is no option {unknown[0]}; see `deepmath grade --help`")
    workers = verify_workers or min(len(os.sched_getaffinity(0)), 8)
    if file is not None and gold is None:
        with Verifier(workers, verify_seconds, require) as verifier:
            failed = _grade_file(file, verifier, as_json)
    elif gold is not None and answer is not None and file is None:
        with Verifier(1, verify_seconds, require) as verifier:
            failed = _grade_one(GradingPair.of(gold, answer), verifier, as_json)
    else:
        raise InvalidRequest("give GOLD and ANSWER, or --file FILE")
    raise typer.Exit(EXIT_FAILURE if failed else 0)


def _grade_one(pair: GradingPair, verifier: Verifier, as_json: bool) -> bool:
    """Print the verdict on one pair; return whether the comparison failed."""
    (verdict,) = verifier.verify([(pair.gold, pair.answer)])
    if as_json:
        print(json_line(_to_dict(pair, verdict)))
    else:
        print(f"{_WORDS[verdict.correct]}: {verdict.reason}")
        print(f"gold:   {printable_line(pair.gold)}")
        print(f"answer: {printable_line(pair.answer)}")
    return verdict.reason is Reason.FAILED


def _grade_file(file: str, verifier: Verifier, as_json: bool) -> bool:
    """Print the verdicts on a file as they come; return whether a line or a comparison failed."""
    counts: Counter[str] = Counter()
    failed = False
    for batch in read_pairs(file):
        verdicts = iter(verifier.verify([(pair.gold, pair.answer) for pair in batch if not pair.error]))
        for pair in batch:
            verdict = None if pair.error else next(verdicts)
            counts[_NOT_A_PAIR if verdict is None else _WORDS[verdict.correct]] += 1
            failed |= verdict is None or verdict.reason is Reason.FAILED
            if problem := pair.error or pair.warning:
                print_error("deepmath", problem)
            if as_json:
                print(json_line(_to_dict(pair, verdict)), flush=True)
            elif verdict is not None:
                print(_line(pair, verdict), flush=True)
    if not as_json:
        print(", ".join([f"{counts.total()} lines", *(f"{count} {word}" for word, count in counts.most_common())]))
    return failed


def _to_dict(pair: GradingPair, verdict: Verdict | None) -> dict[str, object]:
    return {
        "gold": pair.given_gold,
        "answer": pair.given_answer,
        "verdict": None if verdict is None else verdict.correct,
        "reason": _NOT_A_PAIR if verdict is None else verdict.reason.value,
        "seconds": 0.0 if verdict is None else round(verdict.seconds, 6),
        **({"error": pair.error} if pair.error else {}),
    }


def _line(pair: GradingPair, verdict: Verdict) -> str:
    gold, answer = (printable_line(text, _SHOWN) for text in (pair.gold, pair.answer))
    return f"{_WORDS[verdict.correct]:<10}  {verdict.reason}: gold {gold or 'none'}, answer {answer or 'none'}"
