"""Grading of solved questions whose answers are known."""

import asyncio

from deepmath.cli.solve_result import SolveResult
from deepmath.errors import Unavailable
from deepmath.grading.verifier import Verifier
from deepmath.printable_text import print_error


class ResultGrader:
    """Grades results with `verifier`, as evaluation and training do. Where that is impossible, it says so once."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._is_unavailable = False

    async def grade(self, result: SolveResult) -> None:
        """Set the verdict on `result`, if its question has an answer and it has not failed."""
        if result.failed or not result.question.answer:
            return
        pair = (result.question.answer, result.answer)
        try:
            (result.verdict,) = await asyncio.to_thread(self._verifier.verify, [pair])
        except Unavailable as error:
            if not self._is_unavailable:
                print_error("deepmath", f"some answers are not graded: {error}")
            self._is_unavailable = True
