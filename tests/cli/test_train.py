"""`deepmath train`: rejected settings, views, and a complete run."""

import asyncio
import io
import json
import math
import sys

import psutil
import pytest
from rich.console import Console

from deepmath.cli.training_panel import TrainingPanel, sparkline
from deepmath.cli.training_views import TrainingJsonLines, TrainingLog
from deepmath.exit_codes import EXIT_TERMINATED
from deepmath.trainer.v1 import trainer_pb2 as pb

SMALL = (
    "rollout.groups=2",
    "rollout.samples=4",
    "optimizer.micro_batch=8",
    "optimizer.steps=2",
    "evaluation.problems=8",
)


def metrics(step: int, **values: float) -> pb.WatchRunResponse:
    return pb.WatchRunResponse(metrics=pb.StepMetrics(step=step, metrics=values))


RUN = pb.Run(name="lesson", status=pb.STATUS_RUNNING, step=1, steps=10)
UPDATES = [
    pb.WatchRunResponse(run=RUN),
    metrics(1, reward=0.5, accuracy=0.25, loss=math.nan),
    pb.WatchRunResponse(
        trace=pb.SampleTrace(step=1, problem="[red]1 + 1", gold="2", answer="3", reward=0.1, text="so")
    ),
    pb.WatchRunResponse(run=pb.Run(name="lesson", status=pb.STATUS_DONE, step=10, before=pb.Evaluation(accuracy=0.5))),
]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--config", "tiny-mth"], "did you mean `tiny-math`"),
        (["optimizer.stps=3"], "did you mean `optimizer.steps`"),
        (["--resume"], "--name NAME"),
        (["--go-on"], "--go-on --name NAME"),
        (["data.dataset=./none.jsonl"], "none.jsonl"),
        (["--trainer", "nowhere"], "is not a valid address"),
    ],
)
async def test_invalid_setting_is_one_line_and_nothing_is_started(deepmath, tmp_path, arguments, reason: str) -> None:
    ended = await deepmath("train", *arguments, "--runs", str(tmp_path / "runs"))
    assert ended.status == 2
    assert reason in ended.err
    assert ended.err.count("\n") == 1


async def test_dry_run_prints_a_complete_configuration(deepmath, tmp_path) -> None:
    runs = ("--runs", str(tmp_path / "runs"))
    first = await deepmath("train", "--dry-run", "seed=5", *runs)
    assert first.status == 0
    file = tmp_path / "whole.yaml"
    file.write_text(first.out)
    again = await deepmath("train", "--dry-run", "--config", str(file), *runs)
    assert again.out == first.out
    assert "seed: 5" in again.out


async def test_unwritable_runs_folder_has_exit_status_1(deepmath, tmp_path) -> None:
    (tmp_path / "file").touch()
    ended = await deepmath("train", "--runs", str(tmp_path / "file" / "runs"))
    assert ended.status == 1
    assert "cannot write to" in ended.err


async def test_unreachable_trainer_has_exit_status_1(deepmath, free_port) -> None:
    ended = await deepmath("train", "--trainer", f"127.0.0.1:{free_port}")
    assert ended.status == 1
    assert f"the trainer at 127.0.0.1:{free_port} cannot be reached" in ended.err


async def test_sigterm_before_the_run_starts_stops_the_command_and_its_services(tmp_path) -> None:
    code = "from deepmath.cli.main import main; main()"
    command = (sys.executable, "-c", code, "train", "--runs", str(tmp_path / "runs"))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    async for line in process.stderr:
        if line.startswith(b"starting executor and generator"):
            break
    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert await process.stderr.read() == b""
    assert (await process.wait(), bool(started)) == (EXIT_TERMINATED, True)
    assert not psutil.wait_procs(started, timeout=30)[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_run_reports_before_and_after_and_writes_an_adapter(deepmath, fresh_generator, tmp_path) -> None:
    runs = tmp_path / "runs"
    ended = await deepmath("train", *SMALL, f"generators=['{fresh_generator}']", "--runs", str(runs), "--name", "short")
    assert ended.status == 0, ended.err + (runs / "short" / "worker.log").read_text()
    assert "before" in ended.out
    assert "after" in ended.out
    assert "step 2/2" in ended.out
    run = runs / "short"
    assert (run / "adapter" / "adapter_model.safetensors").stat().st_size > 0
    assert (run / "adapter" / "README.md").is_file()
    assert len(list((run / "plots").glob("*.png"))) == 6
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_log_has_a_line_per_step_and_evaluation(capsys) -> None:
    lines = TrainingLog()
    for update in UPDATES:
        lines.show(update)
    step, before = capsys.readouterr().out.splitlines()
    assert step == "step  1/10  reward 0.50  accuracy 0.25"
    assert before.startswith("before training: accuracy 50.0%, calls Python 0.0%")


def test_json_has_a_valid_object_per_update(capsys) -> None:
    view = TrainingJsonLines()
    for update in UPDATES:
        view.show(update)
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in objects] == ["run", "metrics", "trace", "run"]
    assert objects[1]["metrics"]["loss"] is None
    assert objects[-1]["status"] == "done"
    assert objects[-1]["before"]["accuracy"] == 0.5


@pytest.mark.parametrize("width", [40, 80, 200])
def test_panel_fits_any_width(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    panel = TrainingPanel(console)
    for update in UPDATES[:-1]:
        panel.show(update)
    console.print(panel.render())
    shown = console.export_text()
    assert all(text in shown for text in ("lesson", "step 1 of 10", "accuracy", "25.0%", "[red]1 + 1", "expected 2"))
    assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize(
    ("values", "bars"), [([], ""), ([1.0], "▁"), ([2.0, 2.0], "▁▁"), ([0.0, 1.0], "▁█"), ([0, 0, 7, 7, 3, 4], "▁█▅")]
)
def test_sparkline_is_scaled_from_minimum_to_maximum(values: list[float], bars: str) -> None:
    assert sparkline(values, 3) == bars
