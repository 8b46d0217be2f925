"""An evaluation on disk: whole lines only, no duplicates, and existing samples stay untouched."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.evaluation.evaluation_files import count_failures, read_samples
from deepmath.evaluation.evaluation_run import EvaluationRun
from deepmath.evaluation.graded_sample import GradedSample

SETTINGS = {"model": "tiny-math", "benchmarks": ["synthetic"], "samples": 4}
SAMPLE = GradedSample("DeepMath", "synthetic", "p1", 0, "agent", "1/2", "0.5", True, "ANSWERED", "½\n", 3, 4, [], 0.25)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "evaluation"


def add(folder: Path, *samples: GradedSample) -> None:
    with EvaluationRun(folder, SETTINGS) as run:
        for sample in samples:
            run.add(sample)


def test_samples_are_read_back_unchanged(folder: Path) -> None:
    others = [replace(SAMPLE, sample=1, correct=None), replace(SAMPLE, problem_id="p2", text="\ud800 lone")]
    add(folder, SAMPLE, others[0])
    assert list(read_samples(folder)) == [SAMPLE, others[0]]
    add(folder, others[1])
    assert len(list(read_samples(folder))) == 3


def test_samples_of_earlier_versions_have_no_reason(folder: Path) -> None:
    add(folder, SAMPLE, replace(SAMPLE, sample=1, reason="the same value"))
    file = folder / "samples.jsonl"
    first, second = file.read_text().splitlines()
    file.write_text(first.replace(', "reason": ""', "") + "\n" + second + "\n")
    assert '"reason"' not in file.read_text().splitlines()[0]
    assert [sample.reason for sample in read_samples(folder)] == ["", "the same value"]


def test_torn_line_is_cut_off_and_other_lines_stay_unchanged(folder: Path) -> None:
    add(folder, SAMPLE)
    file = folder / "samples.jsonl"
    before = file.read_bytes()
    file.write_bytes(before + b'{"configuration": "Deep' + b"x" * 100_000)
    assert list(read_samples(folder)) == [SAMPLE]
    add(folder, replace(SAMPLE, sample=1))
    assert file.read_bytes().startswith(before)
    assert [sample.sample for sample in read_samples(folder)] == [0, 1]


def test_file_with_only_a_torn_line_starts_empty(folder: Path) -> None:
    add(folder)
    (folder / "samples.jsonl").write_bytes(b"{" * 200_000)
    add(folder, SAMPLE)
    assert list(read_samples(folder)) == [SAMPLE]


def test_existing_sample_is_known_and_not_added_again(folder: Path) -> None:
    add(folder, SAMPLE)
    with EvaluationRun(folder, SETTINGS) as run:
        assert run.verdicts == {SAMPLE.key: SAMPLE.correct}
        with pytest.raises(ValueError, match="duplicate sample"):
            run.add(SAMPLE)


def test_failure_is_not_a_sample(folder: Path) -> None:
    with EvaluationRun(folder, SETTINGS) as run:
        run.add_failure(SAMPLE.key, "cannot connect to the executor at 127.0.0.1:1")
        assert not run.verdicts
    assert count_failures(folder).total() == 1
    assert not list(read_samples(folder))


def test_other_settings_are_rejected_with_the_differences(folder: Path) -> None:
    add(folder, SAMPLE)
    with pytest.raises(InvalidRequest, match=r"benchmarks \['synthetic'\], not \['math500'\]"):
        EvaluationRun(folder, SETTINGS | {"benchmarks": ["math500"]})
    assert list(read_samples(folder)) == [SAMPLE]


def test_second_writer_is_rejected(folder: Path) -> None:
    with EvaluationRun(folder, SETTINGS), pytest.raises(WrongOrder, match="another process"):
        EvaluationRun(folder, SETTINGS)
    add(folder, SAMPLE)


def test_unwritable_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequest, match="cannot write to"):
        EvaluationRun(tmp_path / "file" / "run", SETTINGS)


def test_folder_without_an_evaluation_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no evaluation in"):
        list(read_samples(tmp_path))


@pytest.mark.parametrize("line", [b"{}", b"[1]", b"null", b"{"])
def test_corrupt_line_is_reported_with_its_number(folder: Path, line: bytes) -> None:
    add(folder, SAMPLE)
    with (folder / "samples.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(InvalidRequest, match="line 2"):
        list(read_samples(folder))


def test_samples_in_another_dialect_than_the_generators_are_rejected(folder: Path) -> None:
    plain = replace(SAMPLE, problem_id="p2", mode="plain", dialect="hermes")
    add(folder, replace(SAMPLE, dialect="python-fence"), plain)
    with EvaluationRun(folder, SETTINGS) as run:
        run.check_dialect("python-fence")
        with pytest.raises(InvalidRequest, match=r"python-fence, but that of the generator is hermes"):
            run.check_dialect("hermes")


def test_samples_of_earlier_versions_are_in_tool_call(folder: Path) -> None:
    add(folder, SAMPLE)
    with EvaluationRun(folder, SETTINGS) as run:
        run.check_dialect("tool-call")
        run.check_dialect("")  # a generator of an earlier version
        with pytest.raises(InvalidRequest, match="tool-call"):
            run.check_dialect("python-tag")
