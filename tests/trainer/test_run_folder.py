"""The folder of a run: logs that survive a kill, an atomic state, a lock that ends with its holder."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_log import RunLogReader
from deepmath_trainer.run_state import RunState

from deepmath.errors import Unavailable, WrongOrder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def steps(folder: RunFolder) -> list[int]:
    return [line["step"] for line in folder.read_metrics()]


def log_steps(folder: RunFolder, count: int) -> None:
    for step in range(1, count + 1):
        folder.append_metrics(step, {"reward": step / 10})
        folder.append_trace({"step": step, "text": f"trace {step}"})


def tear(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"step": 4, "metr')


def test_metrics_are_read_as_logged(folder) -> None:
    folder.append_metrics(1, {"reward": 0.25, "loss": -1.0})
    (line,) = folder.read_metrics()
    assert (line["step"], line["metrics"]) == (1, {"reward": 0.25, "loss": -1.0})


def test_non_finite_metric_is_null_in_valid_json(folder) -> None:
    folder.append_metrics(1, {"loss": float("nan"), "reward": float("inf")})

    def reject(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    line = json.loads(folder.metrics.read_text(), parse_constant=reject)
    assert line["metrics"] == {"loss": None, "reward": None}


def test_torn_last_line_is_ignored(folder) -> None:
    log_steps(folder, 3)
    tear(folder.metrics)
    assert steps(folder) == [1, 2, 3]


def test_rewound_run_has_each_step_once(folder) -> None:
    log_steps(folder, 3)
    tear(folder.metrics)
    folder.rewind(2, complete=False)
    folder.append_metrics(3, {"reward": 9.0})
    assert steps(folder) == [1, 2, 3]
    assert folder.read_metrics()[-1]["metrics"] == {"reward": 9.0}
    assert [line["step"] for line in RunLogReader(folder.traces).read()] == [1, 2]


@pytest.mark.parametrize("complete", [False, True])
def test_rewound_run_has_no_policy_and_no_evaluation_of_later_steps(folder, complete) -> None:
    (folder.policies / "step-7").mkdir(parents=True)
    folder.write_evaluation({"before": {}, "after": {}})
    folder.rewind(4, complete)
    assert not folder.policies.exists()
    assert set(folder.read_evaluation()) == ({"before", "after"} if complete else {"before"})


def test_reader_returns_each_line_once_and_a_torn_one_when_it_is_complete(folder) -> None:
    reader = RunLogReader(folder.metrics)
    assert reader.read() == []
    log_steps(folder, 1)
    assert [line["step"] for line in reader.read()] == [1]
    with folder.metrics.open("ab") as file:
        file.write(b'{"step": 2,')
    assert reader.read() == []
    with folder.metrics.open("ab") as file:
        file.write(b' "metrics": {}}\n')
    assert [line["step"] for line in reader.read()] == [2]


def test_reader_continues_after_a_rewind(folder) -> None:
    log_steps(folder, 3)
    reader = RunLogReader(folder.metrics)
    reader.read()
    folder.rewind(1, complete=False)
    assert reader.read() == []
    folder.append_metrics(2, {})
    assert [line["step"] for line in reader.read()] == [2]


def test_unchanged_fields_of_the_state_are_kept(folder) -> None:
    folder.write_state(status="running", step=3, steps=9)
    folder.write_state(step=4)
    state = folder.read_state()
    assert (state.status, state.step, state.steps) == ("running", 4, 9)


def test_state_of_a_later_version_is_read(folder) -> None:
    folder.write_state(step=3)
    path = folder.path / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"invented_later": 1}))
    assert folder.read_state().step == 3


def test_run_without_a_state_has_not_started(folder) -> None:
    assert folder.read_state() == RunState()


def test_corrupt_state_is_reported_with_its_path(folder) -> None:
    (folder.path / "state.json").write_text("{")
    with pytest.raises(Unavailable, match=r"state\.json"):
        folder.read_state()


def test_held_run_cannot_be_held_again(folder) -> None:
    with folder.hold():
        assert folder.is_held()
        with pytest.raises(WrongOrder, match="already running"):
            folder.hold()
    assert not folder.is_held()


def test_inherited_lock_ends_with_its_process_even_by_sigkill(folder) -> None:
    with folder.hold() as lock:
        holder = subprocess.Popen(
            [sys.executable, "-P", "-c", "import time; time.sleep(600)"],
            pass_fds=(lock.fileno(),),
            start_new_session=True,
        )
    assert folder.is_held()
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not folder.is_held()
