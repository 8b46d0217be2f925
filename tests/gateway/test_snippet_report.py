"""A snippet's result as exit status, standard error and error."""

import pytest
from deepmath_gateway.snippet_report import exit_status, program_stderr, snippet_error

from deepmath.executor.v1 import executor_pb2 as pb


def result(outcome: pb.Outcome.ValueType, name: str = "", message: str = "", **fields) -> pb.SnippetResult:
    raised = pb.SnippetException(type=name, message=message, traceback=f"Traceback\n{name}: {message}\n")
    return pb.SnippetResult(outcome=outcome, exception=raised if name else None, **fields)


@pytest.mark.parametrize(
    ("message", "status", "stderr"),
    [
        ("3", 3, ""),
        ("-1", 255, ""),
        ("256", 0, ""),
        ("bye", 1, "bye"),
        ("", 1, ""),
        ("--1", 1, "--1"),
        ("٣", 1, "٣"),
        ("9" * 5000, 1, "9" * 5000),
        ("1" * 20, int("1" * 20) & 255, ""),
    ],
)
def test_an_exit_has_the_status_of_its_argument_and_no_traceback(message: str, status: int, stderr: str) -> None:
    ended = result(pb.OUTCOME_EXCEPTION, "SystemExit", message)
    assert (exit_status(ended), program_stderr(ended)) == (status, stderr)


@pytest.mark.parametrize(
    "outcome", [value for name, value in pb.Outcome.items() if value > pb.OUTCOME_OK and "SANDBOX_FAILED" not in name]
)
def test_every_other_outcome_is_an_error_and_no_success(outcome: pb.Outcome.ValueType) -> None:
    killed, raised = result(outcome, state_lost=True), result(outcome, "mod.SomeError", "why")
    assert exit_status(killed) == -9
    assert "all variables are lost" in program_stderr(killed)
    error = snippet_error(killed)
    assert error
    assert "Error" in error.name or "Crash" in error.name
    assert exit_status(raised) == 1
    assert snippet_error(raised) == ("SomeError", "why", "Traceback\nmod.SomeError: why\n")


def test_what_was_cut_is_said_in_standard_error() -> None:
    cut = pb.SnippetResult(
        outcome=pb.OUTCOME_OK, stdout="a", stderr="b", dropped_bytes=pb.DroppedBytes(stdout=7), dropped_rich_outputs=2
    )
    assert exit_status(cut) == 0
    assert program_stderr(cut) == "b\n(7 bytes were cut out of the middle of the stdout)\n(2 figures were left out)\n"
