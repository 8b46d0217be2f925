r"""Comparison of answers with reference answers, in processes that can be killed.

Theory of operation. math-verify passes model-written text to a LaTeX parser and to sympy, where `10^{10^{10}}` or a
few thousand braces compute forever or use up all memory. math-verify's own timeouts rely on signals, which work only
in a main thread (elsewhere every comparison fails silently). Therefore comparisons run in workers: processes with a
memory limit and without this process's environment, each with one comparison at a time. A worker that misses its
timeout is killed with SIGKILL and replaced at the next comparison. `exact_comparison` decides most answers without a
worker.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import LifoQueue
from threading import Lock
from typing import Self

from deepmath.grading.exact_comparison import compare_exactly, is_comparable
from deepmath.grading.measured_quantity import split_unit
from deepmath.grading.verifier_process import NoReplyError, VerifierProcess


class Verifier:
    """A pool of `workers` processes, started on demand, with `timeout_s` seconds for each comparison.

    Its methods may be called from any thread. Close it after use; it is also a context manager.

    Raises (all methods):
        Unavailable: math-verify cannot be loaded.
    """

    def __init__(self, workers: int, timeout_s: float) -> None:
        self.timeouts = 0
        """Comparisons without a verdict so far, because they timed out or crashed their worker."""
        self._counting = Lock()
        self._workers = [VerifierProcess(timeout_s) for _ in range(workers)]
        self._idle: LifoQueue[VerifierProcess] = LifoQueue()  # last in, first out: reuse workers before starting more
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, "verifier")

    def verify(self, pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
        r"""Return for each (gold, answer) whether the answer is correct, or None if there is no verdict.

        There is none if the comparison times out or the gold answer cannot be parsed as mathematics. Both answers are
        the content of `\boxed{}`, with or without LaTeX delimiters. An empty answer is incorrect.
        """
        verdicts = {pair: compare_exactly(*pair) for pair in pairs}
        undecided = [pair for pair, verdict in verdicts.items() if verdict is None]
        found = self._request_all([(_latex(gold), _latex(answer)) for gold, answer in undecided])
        verdicts.update(zip(undecided, found, strict=True))
        return [verdicts[pair] for pair in pairs]

    def check_gold(self, answer: str) -> bool:
        """Return whether answers can be compared with the gold answer `answer`."""
        return self.check_golds([answer])[0]

    def check_golds(self, answers: Sequence[str]) -> list[bool]:
        """Return for each gold answer whether answers can be compared with it. A timeout counts as no."""
        verdicts: dict[str, bool | None] = {answer: is_comparable(answer) for answer in answers}
        undecided = [answer for answer, verdict in verdicts.items() if verdict is None]
        found = self._request_all([(_latex(answer),) for answer in undecided])
        verdicts.update(zip(undecided, found, strict=True))
        return [bool(verdicts[answer]) for answer in answers]

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

    def _request_all(self, requests: Sequence[tuple[str, ...]]) -> list[bool | None]:
        return list(self._threads.map(self._request, requests)) if requests else []

    def _request(self, request: tuple[str, ...]) -> bool | None:
        worker = self._idle.get()
        try:
            return worker.request(request)
        except NoReplyError:
            with self._counting:
                self.timeouts += 1
            return None
        finally:
            self._idle.put(worker)


def _latex(answer: str) -> str:
    """Return the LaTeX that a worker parses: without the unit, whose letters would be read as factors."""
    text, unit = split_unit(answer)
    return text + "\\%" * (unit == "%")
