"""The live trace of a solution reads the generator's dialect."""

import pytest

from deepmath.cli.live_trace import LiveTrace, show_trajectory
from deepmath.cli.text_console import TextConsole
from deepmath.dialects import DIALECTS
from deepmath.dialects.dialect import TranscriptPart
from deepmath.generator.v1 import generator_pb2 as pb

CODE = "print(6 * 7)"


def _text(dialect: str) -> str:
    return f"Let me see.\n{DIALECTS[dialect].write_call(CODE)}"


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_call_is_shown_as_code_and_not_as_prose(capsys, dialect: str, size: int) -> None:
    trace, text = LiveTrace(TextConsole(), dialect), _text(dialect)
    for start in range(0, len(text), size):
        trace.show(pb.SolveResponse(text=pb.TextDelta(text=text[start : start + size])))
    trace.show(pb.SolveResponse(snippet=pb.SnippetStarted(code=CODE)))
    shown = capsys.readouterr().out
    assert shown.count(CODE) == 1
    assert "Let me see." in shown
    for mark in ("```", "<tool_call>", "python_tag", "arguments"):
        assert mark not in shown


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_finished_trajectory_is_shown_in_its_dialect(capsys, dialect: str) -> None:
    parts = [TranscriptPart("prose", "Let me see.\n"), TranscriptPart("call", CODE)]
    trajectory = pb.Trajectory(
        text=DIALECTS[dialect].write(parts), dialect=dialect, answer="42", snippets=[pb.SnippetRun(code=CODE)]
    )
    show_trajectory(TextConsole(), trajectory)
    shown = capsys.readouterr().out
    assert shown.count(CODE) == 1
    assert "┃ 42 ┃" in shown
    assert "```" not in shown


@pytest.mark.parametrize("dialect", ["", "someone-elses", "x" * 1_000_000])
def test_an_unknown_dialect_is_read_as_tool_call(capsys, dialect: str) -> None:
    trace = LiveTrace(TextConsole(), dialect)
    trace.show(pb.SolveResponse(text=pb.TextDelta(text=f"{_text('tool-call')} and on")))
    assert CODE not in capsys.readouterr().out
