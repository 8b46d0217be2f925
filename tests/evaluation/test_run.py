"""Samples on disk: whole lines only, none twice, and nothing of before is touched."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.evaluation.evaluation_run import EvaluationRun, GradedSample, failures, read

SETTINGS = {"model": "tiny-math", "benchmarks": ["synthetic"], "samples": 4}
SAMPLE = GradedSample("DeepMath", "synthetic", "p1", 0, "agent", "1/2", "0.5", True, "ANSWERED", "½\n", 3, 4, [], 0.25)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "evaluation"


def add(folder: Path, *samples: GradedSample) -> None:
    with EvaluationRun(folder, SETTINGS) as run:
        for sample in samples:
            run.add(sample)


def test_samples_are_read_as_they_were_written(folder: Path) -> None:
    others = [replace(SAMPLE, sample=1, correct=None), replace(SAMPLE, problem_id="p2", text="\ud800 lone")]
    add(folder, SAMPLE, others[0])
    assert list(read(folder)) == [SAMPLE, others[0]]
    add(folder, others[1])
    assert len(list(read(folder))) == 3


def test_torn_line_is_cut_off_and_the_others_stay_as_they_are(folder: Path) -> None:
    add(folder, SAMPLE)
    file = folder / "samples.jsonl"
    before = file.read_bytes()
    file.write_bytes(before + b'{"configuration": "Deep' + b"x" * 100_000)
    assert list(read(folder)) == [SAMPLE]
    add(folder, replace(SAMPLE, sample=1))
    assert file.read_bytes().startswith(before)
    assert [sample.sample for sample in read(folder)] == [0, 1]


def test_file_that_is_one_torn_line_begins_anew(folder: Path) -> None:
    add(folder)
    (folder / "samples.jsonl").write_bytes(b"{" * 200_000)
    add(folder, SAMPLE)
    assert list(read(folder)) == [SAMPLE]


def test_sample_that_is_there_is_known_and_not_added_again(folder: Path) -> None:
    add(folder, SAMPLE)
    with EvaluationRun(folder, SETTINGS) as run:
        assert run.done == {SAMPLE.key: SAMPLE.correct}
        with pytest.raises(ValueError, match="is there"):
            run.add(SAMPLE)


def test_failure_is_no_sample(folder: Path) -> None:
    with EvaluationRun(folder, SETTINGS) as run:
        run.add_failure(SAMPLE.key, "the executor at 127.0.0.1:1 cannot be reached")
        assert not run.done
    assert failures(folder).total() == 1
    assert not list(read(folder))


def test_evaluation_with_other_settings_is_refused_by_what_differs(folder: Path) -> None:
    add(folder, SAMPLE)
    with pytest.raises(InvalidRequest, match=r"benchmarks \['synthetic'\], not \['math500'\]"):
        EvaluationRun(folder, SETTINGS | {"benchmarks": ["math500"]})
    assert list(read(folder)) == [SAMPLE]


def test_second_process_is_refused_while_the_first_is_at_work(folder: Path) -> None:
    with EvaluationRun(folder, SETTINGS), pytest.raises(WrongOrder, match="another process"):
        EvaluationRun(folder, SETTINGS)
    add(folder, SAMPLE)


def test_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequest, match="cannot write to"):
        EvaluationRun(tmp_path / "file" / "run", SETTINGS)


def test_folder_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no evaluation in"):
        list(read(tmp_path))


@pytest.mark.parametrize("line", [b"{}", b"[1]", b"null", b"{"])
def test_damaged_line_is_told_with_its_number(folder: Path, line: bytes) -> None:
    add(folder, SAMPLE)
    with (folder / "samples.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(InvalidRequest, match="line 2"):
        list(read(folder))
