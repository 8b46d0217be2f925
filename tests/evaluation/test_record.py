"""Folders together: rows in the seeds' order, and nothing mixed that is not one."""

from pathlib import Path

import pytest
from support.evaluation_runs import OK, sample, write

from deepmath.errors import InvalidRequest
from deepmath.evaluation.sample_records import load


def test_rows_and_columns_are_in_the_seeds_order_and_others_follow(tmp_path: Path) -> None:
    rows = ("mine", "DeepMath", "+Agent", "Baseline", "+GRPO")
    run = write(
        tmp_path / "run",
        *(sample(configuration=row, benchmark=column) for column in ("own", "aime2025", "math500") for row in rows),
    )
    records = load([run])
    assert list(dict.fromkeys(one.configuration for one in records)) == [
        "Baseline",
        "+GRPO",
        "+Agent",
        "DeepMath",
        "mine",
    ]
    assert list(dict.fromkeys(one.benchmark for one in records)) == ["math500", "aime2025", "own"]


def test_texts_are_not_held_and_outcomes_are(tmp_path: Path) -> None:
    (record,) = load([write(tmp_path / "run", sample(snippets=[OK]))])
    assert record.samples[0].text == ""
    assert record.samples[0].snippets == [{"outcome": "OK"}]


def test_failure_that_was_made_up_for_is_no_lost_sample(tmp_path: Path) -> None:
    failed = (sample(number=0), sample(number=1), sample(number=1))
    (record,) = load([write(tmp_path / "run", sample(), failures=failed)])
    assert (record.drawn, record.lost, record.failures) == (1, 1, 3)


def test_configuration_that_has_failed_throughout_is_there(tmp_path: Path) -> None:
    records = load([write(tmp_path / "run", sample(), failures=(sample(configuration="Baseline"),))])
    assert [(one.configuration, len(one.samples), one.lost) for one in records] == [
        ("Baseline", 0, 1),
        ("DeepMath", 1, 0),
    ]


def test_torn_line_of_the_failures_is_left_out(tmp_path: Path) -> None:
    run = write(tmp_path / "run", sample(), failures=(sample(number=1),))
    with (run / "failures.jsonl").open("a") as file:
        file.write('{"configuration": "Deep')
    assert load([run])[0].failures == 1
    (run / "failures.jsonl").unlink()
    assert load([run])[0].failures == 0


def test_benchmarks_of_two_folders_make_one_row_where_they_were_drawn_alike(tmp_path: Path) -> None:
    a = write(tmp_path / "a", sample(), benchmarks=["synthetic"])
    b = write(tmp_path / "b", sample(benchmark="own"), benchmarks=["own"])
    assert {one.configuration for one in load([a, b])} == {"DeepMath"}


@pytest.mark.parametrize(("benchmark", "model"), [("synthetic", "tiny-math"), ("own", "another")])
def test_rows_are_named_after_their_folders_where_they_would_be_mixed(tmp_path: Path, benchmark, model) -> None:
    a = write(tmp_path / "a", sample(), sample(configuration="Baseline"))
    b = write(tmp_path / "b", sample(benchmark=benchmark), model=model)
    assert [one.configuration for one in load([a, b])] == ["Baseline", "DeepMath (a)", "DeepMath (b)"]


def test_folders_of_one_name_are_refused_where_rows_are_named_after_them(tmp_path: Path) -> None:
    a, b = (write(tmp_path / side / "run", sample()) for side in "ab")
    with pytest.raises(InvalidRequest, match="rename one"):
        load([a, b])


def test_folder_that_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no evaluation in"):
        load([tmp_path])
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(InvalidRequest, match=r"no evaluation in .*No such file"):
        load([tmp_path])


def test_folder_without_samples_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no sample in .* yet: run `deepmath eval"):
        load([write(tmp_path / "run")])


def test_folder_given_twice_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "run", sample())
    with pytest.raises(InvalidRequest, match="given twice"):
        load([run, run / ".." / "run"])
