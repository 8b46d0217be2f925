"""The majority vote of Solve: equal answers vote together, as in reports.

Answers are hostile text, which sympy would evaluate. What exact arithmetic cannot decide is compared in the verifier's
sandboxes, which the first vote that needs one starts, in a thread. Where no sandbox can be started, answers are
compared by exact arithmetic only, in this process and without sympy, and the vote says so.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from deepmath.errors import Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.comparison_sandbox import configured_level
from deepmath.grading.verifier import Verifier
from deepmath.grading.vote_tally import tally_votes

log = logging.getLogger(__name__)

_WORKERS = 2
_RETRY_S = 60.0  # after a failed start


class AnswerVote:
    """Votes of samples, with `timeout_s` seconds for each comparison. Close it after use.

    Raises:
        InvalidRequest: the environment asks for an isolation level that does not exist.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s, self._level = timeout_s, configured_level()
        self._threads = ThreadPoolExecutor(_WORKERS, "vote")
        self._starting = Lock()
        self._verifier: Verifier | None = None
        self._retry_at = 0.0

    async def vote(self, answers: Sequence[str]) -> pb.Vote:
        """Return the vote of samples with these answers; an empty answer does not vote."""
        if len(set(filter(None, answers))) < 2:
            return _to_proto(tally_votes(answers, None))
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._compare, answers)

    def close(self) -> None:
        """Stop the verifier. Running votes end without further comparisons."""
        with self._starting:
            self._retry_at = float("inf")
            verifier, self._verifier = self._verifier, None
        if verifier:
            verifier.close()
        self._threads.shutdown(cancel_futures=True)

    def _compare(self, answers: Sequence[str]) -> pb.Vote:
        if verifier := self._started():
            try:
                return _to_proto(tally_votes(answers, verifier.verify))
            except Unavailable as error:
                self._discard(verifier, error)
        return _to_proto(tally_votes(answers, None), exact_only=True)

    def _started(self) -> Verifier | None:
        with self._starting:
            if self._verifier is None and time.monotonic() >= self._retry_at:
                self._verifier = Verifier(_WORKERS, self._timeout_s, self._level)
            return self._verifier

    def _discard(self, verifier: Verifier, error: Unavailable) -> None:
        with self._starting:
            if self._verifier is not verifier:
                return
            self._verifier, self._retry_at = None, time.monotonic() + _RETRY_S
        log.warning("votes compare answers by exact arithmetic only: %s", error)
        verifier.close()


def _to_proto(counts: Sequence[tuple[str, int]], exact_only: bool = False) -> pb.Vote:
    return pb.Vote(
        answer=counts[0][0] if counts else "",
        counts=[pb.VoteCount(answer=answer, votes=votes) for answer, votes in counts],
        exact_only=exact_only,
    )
