"""Views of a training run: log lines and JSON lines."""

import json

from deepmath.cli.training_views import TrainingJsonLines, TrainingLog

from .training_updates import UPDATES, WAITING


def test_log_has_a_line_per_step_and_evaluation(capsys) -> None:
    lines = TrainingLog()
    for update in UPDATES:
        lines.show(update)
    step, before = capsys.readouterr().out.splitlines()
    assert step == "step  1/10  reward 0.50  accuracy 0.25"
    assert before.startswith("before training: accuracy 50.0%, calls Python 0.0%")


def test_log_has_a_line_per_wait(capsys) -> None:
    lines = TrainingLog()
    for update in (WAITING, WAITING, UPDATES[0]):
        lines.show(update)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("waiting for a generator: the generator at g:1 is [red]loading")


def test_json_has_a_valid_object_per_update(capsys) -> None:
    view = TrainingJsonLines()
    for update in (*UPDATES, WAITING):
        view.show(update)
    *objects, waiting = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in objects] == ["run", "metrics", "trace", "run"]
    assert objects[1]["metrics"]["loss"] is None
    assert objects[1]["time"] == "1970-01-01T00:00:00.000+00:00"  # of the same type as in the log
    assert objects[-1]["status"] == "done"
    assert objects[-1]["before"]["accuracy"] == 0.5
    assert (waiting["status"], waiting["waiting_for"]) == ("waiting", "the generator at g:1 is [red]loading\n")
