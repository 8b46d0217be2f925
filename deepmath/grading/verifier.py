r"""Compares answers with the right ones, in processes that can be killed.

Theory of operation. math-verify hands what a model wrote to a LaTeX parser and to sympy, where `10^{10^{10}}` or a
few thousand braces compute for ever or eat all memory. Its own timeouts are signals, which do nothing outside of a
main thread (there every comparison then fails, silently). So the comparison runs in workers (`verifier_worker`): plain
processes with a memory limit, without this process's environment, each with one pair at a time. One that does not
answer in time is killed with SIGKILL and replaced when it is next needed. Numbers need no worker: `deepmath.grading.answers`
compares them exactly, which is nearly all there is to do for most datasets.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from math import ceil
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from typing import IO, Self

from deepmath.errors import Unavailable
from deepmath.grading.answers import canonical, quantity, words

# Answers of datasets have some dozen characters; a page of text is none, and slow to parse.
MOST_CHARACTERS = 1000
_MEMORY = 1 << 30  # bytes of address space of a worker; 80 MiB are the libraries
_SPENT = _MEMORY // 2  # a worker that ever held so much has little left, and goes
_START_S = 120.0  # importing sympy on a machine that is busy
_GRACE_S = 5  # after which a worker that nobody has killed kills itself
# All that a worker gets of our environment: no token, no password.
_INHERITED = ("LD_LIBRARY_PATH", "PATH", "PYTHONPATH")
_PROGRAM = Path(__file__).with_name("verifier_worker.py")


class Verifier:
    """`workers` processes, started when first needed, with `timeout_s` seconds for each answer.

    Its methods may be called from any thread. Close it; it is a context manager too.

    They raise Unavailable where math-verify cannot be loaded.
    """

    def __init__(self, workers: int, timeout_s: float) -> None:
        self.timeouts = 0
        """Answers that got no verdict so far: the time was over, or the worker died of them."""
        self._counting = Lock()
        self._workers = [_Worker(timeout_s) for _ in range(workers)]
        self._idle: LifoQueue[_Worker] = LifoQueue()  # last in, first out: those that run are used before more start
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, "verifier")

    def verify(self, pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
        r"""Return for each (gold, answer) whether the answer is right; None where that cannot be told.

        That is where it takes too long, or where the gold answer is no mathematics. Both answers are what stands in
        `\boxed{}`, with or without LaTeX delimiters. No answer is wrong.
        """
        verdicts = {pair: _compare(*pair) for pair in pairs}
        open_pairs = [pair for pair, verdict in verdicts.items() if verdict is None]
        found = self._ask_all([(_latex(gold), _latex(answer)) for gold, answer in open_pairs])
        verdicts.update(zip(open_pairs, found, strict=True))
        return [verdicts[pair] for pair in pairs]

    def check_gold(self, answer: str) -> bool:
        """Return whether answers can be compared with `answer`."""
        return self.check_golds([answer])[0]

    def check_golds(self, answers: Sequence[str]) -> list[bool]:
        """Return for each whether answers can be compared with it. One that takes too long is none to compare with."""
        verdicts: dict[str, bool | None] = {answer: _is_gold(answer) for answer in answers}
        open_answers = [answer for answer, verdict in verdicts.items() if verdict is None]
        found = self._ask_all([(_latex(answer),) for answer in open_answers])
        verdicts.update(zip(open_answers, found, strict=True))
        return [bool(verdicts[answer]) for answer in answers]

    def close(self) -> None:
        """End the workers, also those at work: what still waits for them gets no verdict."""
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown()
        for worker in self._workers:
            worker.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_all(self, questions: Sequence[tuple[str, ...]]) -> list[bool | None]:
        return list(self._threads.map(self._ask, questions)) if questions else []

    def _ask(self, question: tuple[str, ...]) -> bool | None:
        worker = self._idle.get()
        try:
            return worker.ask(question)
        except _NoReplyError:
            with self._counting:
                self.timeouts += 1
            return None
        finally:
            self._idle.put(worker)


def _compare(gold: str, answer: str) -> bool | None:
    """What can be told without a worker."""
    if not answer.strip():
        return False
    if canonical(gold) == canonical(answer):
        return True
    if max(len(answer), len(gold)) > MOST_CHARACTERS:
        return False
    right, given = quantity(gold), quantity(answer)
    if right.unit and given.unit and right.unit != given.unit:
        return False
    numbers = canonical(right.text), canonical(given.text)
    if isinstance(numbers[0], Fraction) and isinstance(numbers[1], Fraction):
        share = (numbers[0], right.unit == "%"), (numbers[1], given.unit == "%")
        return _equal(*share, rounded="." in right.text + given.text)
    (right_words, is_text), (given_words, also_text) = words(gold), words(answer)
    if right_words and given_words and (is_text or also_text):
        return right_words == given_words
    return None


def _equal(gold: tuple[Fraction, bool], answer: tuple[Fraction, bool], rounded: bool) -> bool:
    """Whether two numbers are equal, of which each may be a percentage.

    A percentage without its sign may be either of the two numbers that it stands for; but 0.5 is not 0.5%.
    """
    (right, is_share), (given, also_share) = gold, answer
    if is_share == also_share:
        return _close(right, given, rounded)
    share, bare = (right, given) if is_share else (given, right)
    return _close(share / 100, bare, rounded) or ((is_share or right > 1) and _close(share, bare, rounded))


def _close(gold: Fraction, answer: Fraction, rounded: bool) -> bool:
    """Whether two numbers are equal; where there is a decimal point, to six places, but not all small ones are one."""
    if not rounded:
        return gold == answer
    return round(gold, 6) == round(answer, 6) and abs(gold - answer) <= abs(gold) / 10_000


def _latex(answer: str) -> str:
    """What a worker gets to parse: units are no factors."""
    text, unit = quantity(answer)
    return text + "\\%" * (unit == "%")


def _is_gold(answer: str) -> bool | None:
    if isinstance(canonical(quantity(answer).text), Fraction):
        return True
    return False if not answer.strip() or len(answer) > MOST_CHARACTERS else None


class _NoReplyError(Exception):
    """The time was over, or the worker died of the question, or is no more."""


class _Worker:
    """One process; started by the first question, and again by the next one after it was killed."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._starting = Lock()  # against `stop` from another thread

    def ask(self, question: tuple[str, ...]) -> bool | None:
        """Return what it says of (gold,) or (gold, answer), see `verifier_worker`.

        Raises:
            _NoReplyError: it said nothing in time. It is killed then.
            Unavailable: it does not start.
        """
        process = self._running()
        try:
            _pipe(process.stdin).write(json.dumps(question).encode() + b"\n")
            reply = _line(_pipe(process.stdout), self._timeout_s)
        except BrokenPipeError:
            reply = b""
        if not reply:
            self.end()
            raise _NoReplyError
        verdict, peak = json.loads(reply)
        if peak > _SPENT:
            self.end()
        return None if verdict is None else bool(verdict)

    def stop(self) -> None:
        """Kill the process while another thread may wait for it, and start none any more."""
        with self._starting:
            self._stopped = True
            process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Kill the process, if there is one, and free what it held."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _pipe(process.stdin).close()
            _pipe(process.stdout).close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.end()
        with self._starting:
            if self._stopped:
                raise _NoReplyError
            process = self._process = self._spawn()
        if _line(_pipe(process.stdout), _START_S) != b"ready\n":
            self.end()
            if self._stopped:
                raise _NoReplyError
            raise Unavailable("cannot start math-verify, which compares answers: is the extra `evaluation` installed?")
        return process

    def _spawn(self) -> subprocess.Popen[bytes]:
        seconds = ceil(self._timeout_s) + _GRACE_S
        return subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM), str(seconds), str(_MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ} | {"PYTHONHASHSEED": "0"},
            start_new_session=True,  # Ctrl-C is for us
        )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _line(pipe: IO[bytes], timeout_s: float) -> bytes:
    """Return the next line, or what there is of one: nothing where the time is over or the writer has ended.

    Workers write a line at once, so it is whole where it has begun.
    """
    poll = select.poll()  # not `select`: a trainer may have more than 1024 files open
    poll.register(pipe, select.POLLIN)
    return pipe.readline() if poll.poll(timeout_s * 1000) else b""
