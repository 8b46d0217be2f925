"""Files of an evaluation folder that somebody else wrote, or damaged."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.evaluation_runs import OK, sample, write

from deepmath.errors import InvalidRequest
from deepmath.evaluation.evaluation_files import read_questions, read_samples

VALUES: st.SearchStrategy[Any] = st.sampled_from([None, True, 1, -1, 1.5, "x", "\ud800", [], ["x"], {}, {"code": 1}])
FIELDS = st.sampled_from([*sample().__dict__, "snippets.code", "snippets.outcome"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "run", sample(snippets=[OK]))


def test_sample_is_read_as_it_was_written(folder: Path) -> None:
    assert list(read_samples(folder)) == [sample(snippets=[OK])]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(FIELDS, VALUES)
def test_sample_with_a_wrong_type_is_refused_with_its_line(folder: Path, field: str, value: Any) -> None:
    changed: dict[str, Any] = {**sample().__dict__, "snippets": [dict(OK)]}
    if field.startswith("snippets."):
        changed["snippets"][0][field.partition(".")[2]] = value
    else:
        changed[field] = value
    (folder / "samples.jsonl").write_text(json.dumps(changed) + "\n")
    try:
        (read,) = read_samples(folder)
    except InvalidRequest as error:
        assert "line 1, is not a sample" in str(error)  # noqa: PT017
    else:
        assert {name: type(one) for name, one in read.__dict__.items()} == {
            name: type(one)
            for name, one in sample(
                correct=read.correct, seconds=read.seconds, score=read.score, difficulty=read.difficulty
            ).__dict__.items()
        }


@pytest.mark.parametrize("score", [-1, 1.5, float("nan"), float("inf"), True])
def test_score_is_a_share(folder: Path, score: float) -> None:
    changed = {**sample().__dict__, "snippets": [dict(OK)]}
    (folder / "samples.jsonl").write_text(json.dumps(changed | {"score": 0.5}) + "\n")
    assert [one.score for one in read_samples(folder)] == [0.5]
    (folder / "samples.jsonl").write_text(json.dumps(changed | {"score": score}) + "\n")
    with pytest.raises(InvalidRequest, match=r"line 1, is not a sample.*score is"):
        list(read_samples(folder))


def test_folder_of_a_version_without_families_and_difficulties_opens(folder: Path) -> None:
    values = {name: value for name, value in sample().__dict__.items() if name not in ("family", "difficulty")}
    (folder / "samples.jsonl").write_text(json.dumps(values) + "\n")
    (folder / "problems.jsonl").write_text('{"benchmark": "synthetic", "problem_id": "p1", "problem": "6 * 7?"}\n')
    assert list(read_samples(folder)) == [sample()]
    assert read_questions(folder) == {("synthetic", "p1"): "6 * 7?"}


@pytest.mark.parametrize(
    "group", [{"family": "x" * 61}, {"family": "a\u202eb"}, {"difficulty": 10**9}, {"difficulty": -1}], ids=repr
)
def test_long_or_unprintable_family_and_a_large_difficulty_are_refused(folder: Path, group: dict[str, Any]) -> None:
    (folder / "samples.jsonl").write_text(json.dumps(sample().__dict__ | group) + "\n")
    with pytest.raises(InvalidRequest, match=r"line 1, is not a sample.*(family|difficulty) is"):
        list(read_samples(folder))


@pytest.mark.parametrize("line", ["{}", "[]", "1", "{", '{"benchmark": "b"}', "\x00"])
def test_damaged_line_is_refused(folder: Path, line: str) -> None:
    (folder / "samples.jsonl").write_text(f"{line}\n")
    (folder / "problems.jsonl").write_text(f"{line}\n")
    with pytest.raises(InvalidRequest, match="line 1, is not a sample"):
        list(read_samples(folder))
    with pytest.raises(InvalidRequest, match="line 1, is not a problem"):
        read_questions(folder)
