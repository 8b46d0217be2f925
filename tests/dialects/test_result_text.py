"""Text of a snippet's result in the model's context."""

import pytest

from deepmath.dialects.result_text import render_result
from deepmath.executor.v1 import executor_pb2 as pb


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (pb.SnippetResult(outcome=pb.OUTCOME_OK, stdout="3\n", value="4"), "3\n4"),
        (pb.SnippetResult(outcome=pb.OUTCOME_OK), "(no output)"),
        (
            pb.SnippetResult(outcome=pb.OUTCOME_OK, stdout="19", dropped_bytes=pb.DroppedBytes(stdout=7)),
            "19\n(7 bytes were cut out of the middle)",
        ),
        (pb.SnippetResult(outcome=pb.OUTCOME_OK, value="4", rich_outputs=[pb.RichOutput(data=b"x")]), "4\n(1 figure)"),
        (
            pb.SnippetResult(outcome=pb.OUTCOME_OK, rich_outputs=[pb.RichOutput()] * 8, dropped_rich_outputs=3),
            "(11 figures)",
        ),
        (
            pb.SnippetResult(
                outcome=pb.OUTCOME_EXCEPTION,
                stdout="1\n",
                exception=pb.SnippetException(type="ZeroDivisionError", message="division by zero"),
            ),
            "1\nZeroDivisionError: division by zero",
        ),
        (
            pb.SnippetResult(
                outcome=pb.OUTCOME_WALL_TIMEOUT, stdout="1\n", state_lost=True, usage=pb.Usage(wall_ms=2004)
            ),
            "1\nTimeoutError: stopped after 2 s; variables are lost",
        ),
        (pb.SnippetResult(outcome=pb.OUTCOME_CRASHED, state_lost=True), "Error: crashed; variables are lost"),
    ],
)
def test_rendered_result_has_output_value_truncation_and_failure(result: pb.SnippetResult, text: str) -> None:
    assert render_result(result) == text
