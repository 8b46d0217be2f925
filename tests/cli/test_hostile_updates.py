"""Hostile text in the views of a training run, and a display that fails."""

import json
import sys
from collections.abc import Callable

import pytest
from support.hostile_generator import serve_hostile_generator
from support.hostile_text import TEXTS, steers
from support.pseudo_terminal import without_colours

from deepmath.cli import question_solver
from deepmath.cli.output_streams import PrintableStream
from deepmath.cli.question_file import Question
from deepmath.cli.result_grader import ResultGrader
from deepmath.cli.text_console import TextConsole
from deepmath.cli.training_panel import TrainingPanel
from deepmath.cli.training_views import TrainingJsonLines, TrainingLog, show_outcome
from deepmath.clients import GeneratorClient
from deepmath.grading.verifier import Verifier
from deepmath.trainer.v1 import trainer_pb2 as pb


def updates(text: str) -> list[pb.WatchRunResponse]:
    run = pb.Run(name=text, status=pb.STATUS_FAILED, step=1, steps=10, error=text, folder=text, waiting_for=text)
    trace = pb.SampleTrace(step=1, problem=text, gold=text, answer=text, reward=0.1, text=text)
    return [
        pb.WatchRunResponse(run=run),
        pb.WatchRunResponse(metrics=pb.StepMetrics(step=1, metrics={"reward": 0.5, text: 1.0})),
        pb.WatchRunResponse(trace=trace),
    ]


def panel(text: str) -> None:
    shown = TrainingPanel(TextConsole(width=300))
    for update in updates(text):
        shown.show(update)
    shown.notify(text)
    TextConsole(width=300).print(shown.render())


def log(text: str) -> None:
    view = TrainingLog()
    for update in updates(text):
        view.show(update)
    view.notify(text)


def json_lines(text: str) -> None:
    view = TrainingJsonLines()
    for update in updates(text):
        view.show(update)


def outcome(text: str) -> None:
    show_outcome(updates(text)[0].run, f"deepmath train --resume --name {text}")


@pytest.mark.parametrize("view", [panel, log, json_lines, outcome])
@pytest.mark.parametrize("text", TEXTS.values())
def test_view_of_a_run_is_only_text(
    view: Callable[[str], None], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    view(text)
    captured = capsys.readouterr()
    shown = without_colours((captured.out + captured.err).encode())
    assert not steers(shown)
    if view is json_lines:
        lines = [json.loads(line) for line in captured.out.split("\n") if line]
        assert [lines[0]["error"], lines[2]["answer"]] == [text, text]
    if view is panel:
        assert "[INST] What? [/INST]" not in text or shown.count(text) >= 4


async def test_display_that_fails_loses_no_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("[/INST]")

    monkeypatch.setattr(question_solver, "show_trajectory", fail)
    monkeypatch.setattr(question_solver, "show_table", fail)
    questions = [Question("1 + 1?"), Question("fail"), Question("2 + 2?")]
    with Verifier(1, 3.0) as verifier:
        async with serve_hostile_generator("42") as address, GeneratorClient(address) as client:
            grader = ResultGrader(verifier)
            results = await question_solver.solve_all(client, questions, {"samples": 1}, 8, grader, False, True)
    captured = capsys.readouterr()
    assert [result.answer for result in results] == ["42", "", "42"]
    assert [json.loads(line)["answer"] for line in captured.out.split("\n") if line.startswith("{")] == ["42", "", "42"]
    assert "cannot show a trace: ValueError('[/INST]')" in captured.err


def test_protected_stream_is_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    stream = PrintableStream(sys.stdout)
    print("a\x1b[31m\u202eb", "½", sep="\t", file=stream, flush=True)
    assert capsys.readouterr().out == "a\\x1b[31m\\u202eb\t½\n"
    assert (stream.isatty(), stream.writable(), stream.encoding) == (False, True, sys.stdout.encoding)
