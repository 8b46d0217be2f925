r"""Comparison of answers with reference answers, in processes that can be killed.

Theory of operation. math-verify passes model-written text to a LaTeX parser and to sympy, where `10^{10^{10}}` or a
few thousand braces compute forever or use up all memory. math-verify's own timeouts rely on signals, which work only
in a main thread (elsewhere every comparison fails silently). Therefore comparisons run in workers: processes with a
memory limit and without this process's environment, each with one comparison at a time. A worker that misses its
timeout is killed with SIGKILL and replaced at the next comparison. `exact_comparison` decides most answers without a
worker.
"""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from queue import LifoQueue
from threading import Lock
from typing import Self

from deepmath.grading.answer_normalization import canonical_form
from deepmath.grading.exact_comparison import MAX_CHARACTERS, compare_exactly, is_comparable
from deepmath.grading.measured_quantity import split_unit
from deepmath.grading.verdict import Reason, Verdict
from deepmath.grading.verifier_process import NoReplyError, VerifierProcess


class Verifier:
    """A pool of `workers` processes, started on demand, with `timeout_s` seconds for each comparison.

    Its methods may be called from any thread. Close it after use; it is also a context manager.

    Raises (all methods):
        Unavailable: math-verify cannot be loaded.
    """

    def __init__(self, workers: int, timeout_s: float) -> None:
        self.reasons: Counter[Reason] = Counter()
        """Number of verdicts so far by their reason."""
        self._counting = Lock()
        self._workers = [VerifierProcess(timeout_s) for _ in range(workers)]
        self._idle: LifoQueue[VerifierProcess] = LifoQueue()  # last in, first out: reuse workers before starting more
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, "verifier")

    def verify(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        r"""Return the verdict on each (gold, answer), in order.

        Both are the content of `\boxed{}`, with or without LaTeX delimiters.
        """
        verdicts = {pair: _decide(*pair) for pair in pairs}
        undecided = [pair for pair, verdict in verdicts.items() if verdict is None]
        verdicts.update(zip(undecided, self._request_all(undecided), strict=True))
        return self._count([verdict for pair in pairs if (verdict := verdicts[pair]) is not None])

    def check_gold(self, gold: str) -> Verdict:
        """Return whether answers can be compared with `gold`: `correct` is True, or None if they cannot."""
        return self.check_golds([gold])[0]

    def check_golds(self, golds: Sequence[str]) -> list[Verdict]:
        """Return for each gold answer what `check_gold` does."""
        verdicts = {gold: _decide_gold(gold) for gold in golds}
        undecided = [gold for gold, verdict in verdicts.items() if verdict is None]
        verdicts.update(zip(undecided, self._request_all([(gold,) for gold in undecided]), strict=True))
        return self._count([verdict for gold in golds if (verdict := verdicts[gold]) is not None])

    def close(self) -> None:
        """Stop all workers. Pending and queued comparisons get no verdict."""
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown()
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count(self, verdicts: list[Verdict]) -> list[Verdict]:
        with self._counting:
            self.reasons.update(verdict.reason for verdict in verdicts)
        return verdicts

    def _request_all(self, requests: Sequence[tuple[str, ...]]) -> list[Verdict]:
        return list(self._threads.map(self._request, requests)) if requests else []

    def _request(self, request: tuple[str, ...]) -> Verdict:
        worker = self._idle.get()
        started = time.monotonic()
        try:
            correct = worker.request(tuple(map(_latex, request)))
        except NoReplyError:
            return Verdict(None, Reason.FAILED, time.monotonic() - started)
        finally:
            self._idle.put(worker)
        reason = {True: Reason.SAME_VALUE, False: Reason.DIFFERENT, None: Reason.GOLD_UNREADABLE}[correct]
        return Verdict(correct, reason, time.monotonic() - started)


def _decide(gold: str, answer: str) -> Verdict | None:
    """Return the verdict on a pair, or None if only a symbolic comparison can tell."""
    started = time.monotonic()
    correct = compare_exactly(gold, answer)
    if correct is None:
        return None
    if correct:
        reason = Reason.SAME_VALUE if isinstance(canonical_form(gold), Fraction) else Reason.SAME_TEXT
    elif not answer.strip():
        reason = Reason.ANSWER_EMPTY
    else:
        reason = Reason.ANSWER_TOO_LONG if len(answer) > MAX_CHARACTERS else Reason.DIFFERENT
    return Verdict(correct, reason, time.monotonic() - started)


def _decide_gold(gold: str) -> Verdict | None:
    comparable = is_comparable(gold)
    if comparable is None:
        return None
    return Verdict(True, Reason.SAME_VALUE) if comparable else Verdict(None, Reason.GOLD_UNREADABLE)


def _latex(answer: str) -> str:
    """Return the LaTeX that a worker parses: without the unit, whose letters would be read as factors."""
    text, unit = split_unit(answer)
    return text + "\\%" * (unit == "%")
