r"""Comparison of answers with gold answers.

Theory of operation. Most answers are numbers or the same text; `exact_comparison` decides them here. All others need
math-verify and sympy, which evaluate what a model wrote: hostile code. First `latex_alphabet` replaces every name by
one of ours, for otherwise an answer could name itself correct. Then `comparison_sandbox` compares the pair in a locked
down process of its own, and `pair_judge` finds out whose fault it is if that goes wrong. A problem of reasoning-gym has
no gold answer to compare with but a scorer, see `gym_scorer`.
"""

import logging
import time
import traceback
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError, Future
from fractions import Fraction
from threading import Lock
from typing import Self

from deepmath.grading.answer_normalization import canonical_form
from deepmath.grading.comparison_sandbox import ComparisonSandbox, configured_level
from deepmath.grading.exact_comparison import MAX_CHARACTERS, compare_exactly, is_comparable
from deepmath.grading.gym_entry import GymEntry, GymTask
from deepmath.grading.gym_scorer import GymScorer
from deepmath.grading.latex_alphabet import NameTable, UnreadableLatexError, close_latex
from deepmath.grading.measured_quantity import split_unit
from deepmath.grading.pair_judge import PairJudge
from deepmath.grading.text_answers import text_answer
from deepmath.grading.unescaped_latex import find_unescaped
from deepmath.grading.verdict import Reason, Verdict
from deepmath.sandbox.isolation.layers import Level

_log = logging.getLogger(__name__)

Reference = str | GymEntry
"""A gold answer, or an entry of reasoning-gym, which has its own scorer."""

_Texts = tuple[str, ...]  # (gold, answer), or (gold,) to check it
_Case = tuple[Reference, str] | tuple[Reference]


class Verifier:
    """Verdicts on answers, with sandboxes that are started on demand. Its methods may be called from any thread.

    Close it after use; it is also a context manager. Once it is closed, what only a sandbox can decide gets no verdict.

    Args:
        workers: Number of comparisons at a time.
        timeout_s: Processor time of one comparison, in seconds.
        required_level: Lowest isolation level of the sandboxes to accept; default `DEEPMATH_GRADING_REQUIRE`, or "pod".
        tasks: Tasks of reasoning-gym whose entries can be references.

    Raises (all methods):
        Unavailable: math-verify or reasoning-gym cannot be loaded, or layers of the required level are missing here.
    """

    def __init__(
        self,
        workers: int,
        timeout_s: float,
        required_level: Level | None = None,
        tasks: Collection[GymTask] = (),
    ) -> None:
        self.reasons: Counter[Reason] = Counter()
        """Number of verdicts so far by their reason."""
        self._counting = Lock()
        level = required_level or configured_level()
        self._sandbox = ComparisonSandbox(workers, timeout_s, level)
        self._judge = PairJudge(self._sandbox, workers)
        self._scorer = GymScorer(tasks, workers, timeout_s, level)

    def start(self) -> None:
        """Start the sandboxes now, rather than with the first comparison that needs one."""
        self._sandbox.start()
        self._scorer.start()

    def verify(self, pairs: Sequence[tuple[Reference, str]]) -> list[Verdict]:
        r"""Return the verdict on each (reference, answer), in order. Those that need a sandbox are made concurrently.

        Gold answer and answer are the content of `\boxed{}`, with or without LaTeX delimiters.
        """
        return self._all(pairs)

    def check_gold(self, gold: Reference) -> Verdict:
        """Return whether answers can be compared with `gold`: `correct` is True, or None if they cannot."""
        return self.check_golds([gold])[0]

    def check_golds(self, golds: Sequence[Reference]) -> list[Verdict]:
        """Return for each gold answer what `check_gold` does. An entry with a scorer needs no gold answer."""
        return self._all([(gold,) for gold in golds])

    def close(self) -> None:
        """Stop all sandboxes. Pending and queued comparisons get no verdict."""
        self._sandbox.close()
        self._scorer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all(self, cases: Sequence[_Case]) -> list[Verdict]:
        """Return the verdicts on pairs or gold answers, in order, and count them."""
        found = {case: self._decide(*case) for case in cases}
        verdicts = {one: verdict if isinstance(verdict, Verdict) else _wait(verdict) for one, verdict in found.items()}
        ordered = [verdicts[case] for case in cases]
        with self._counting:
            self.reasons.update(verdict.reason for verdict in ordered)
        return ordered

    def _decide(self, reference: Reference, *answers: str) -> Verdict | Future[Verdict]:
        """Return the verdict, or start what will find it."""
        if not isinstance(reference, GymEntry):
            return self._compare((reference, *answers))
        return self._scorer.submit(reference, *answers) if answers else Verdict.of(Reason.FULL_SCORE)

    def _compare(self, texts: _Texts) -> Verdict | Future[Verdict]:
        verdict = _without_sandbox(texts)
        if verdict is not None:
            return verdict
        names = NameTable()
        closed = []
        for text, reason in zip(texts, (Reason.GOLD_UNREADABLE, Reason.ANSWER_UNREADABLE), strict=False):
            try:
                closed.append(close_latex(_latex(text), names))
            except UnreadableLatexError:
                return Verdict.of(reason)
            except Exception as error:
                _log_bug(error)
                return Verdict.of(reason)
        self._sandbox.start()
        return self._sandbox.submit(self._judge.judge(*closed))


def _wait(verdict: Future[Verdict]) -> Verdict:
    try:
        return verdict.result()
    except CancelledError:  # the verifier was closed
        return Verdict.of(Reason.FAILED)


def _without_sandbox(texts: _Texts) -> Verdict | None:
    """Return the verdict if it needs no parser of mathematics."""
    started = time.monotonic()
    try:
        reason = _exact_reason(*texts)
    except Exception as error:  # a bug, of which an answer must not make use to end a run: a sandbox decides
        _log_bug(error)
        return None
    return None if reason is None else Verdict.of(reason, time.monotonic() - started)


def _log_bug(error: Exception) -> None:
    """Log an exception in one line: an answer that causes one may come often, and its traceback be long."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("unhandled %s in an exact comparison, at %s:%d", type(error).__name__, place.filename, place.lineno)


def _exact_reason(gold: str, answer: str | None = None) -> Reason | None:
    if not gold.strip():
        return Reason.GOLD_EMPTY
    if len(gold) > MAX_CHARACTERS:
        return Reason.GOLD_UNREADABLE
    if find_unescaped(gold):
        return Reason.GOLD_DAMAGED
    if answer is None:
        return Reason.SAME_VALUE if is_comparable(gold) else None
    if len(answer) > MAX_CHARACTERS:
        return Reason.ANSWER_TOO_LONG
    if not answer.strip():
        return Reason.ANSWER_EMPTY
    correct = compare_exactly(gold, answer)
    if correct is None:
        return None
    if not correct:
        return Reason.DIFFERENT
    return Reason.SAME_TEXT if _is_same_text(gold, answer) else Reason.SAME_VALUE


def _is_same_text(gold: str, answer: str) -> bool:
    """Return whether equal answers are the same text or words, and not the same number or expression."""
    form, words = canonical_form(gold), text_answer(gold).letters
    if isinstance(form, Fraction):
        return False
    return form == canonical_form(answer) or (bool(words) and words == text_answer(answer).letters)


def _latex(answer: str) -> str:
    """Return the LaTeX to compare: without the unit, whose letters would be read as factors."""
    text, unit = split_unit(answer)
    return text + "\\%" * (unit == "%")
