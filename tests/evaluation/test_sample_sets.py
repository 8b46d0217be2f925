"""Sample sets of several folders: rows in the order of the DeepMath table, and only compatible samples merged."""

from pathlib import Path

import pytest
from support.evaluation_runs import OK, sample, write

from deepmath.errors import InvalidRequest
from deepmath.evaluation.sample_sets import load_sample_sets


def test_rows_and_columns_are_in_the_order_of_the_deepmath_table_and_others_follow(tmp_path: Path) -> None:
    rows = ("mine", "DeepMath", "+Agent", "Baseline", "+GRPO")
    run = write(
        tmp_path / "run",
        *(sample(configuration=row, benchmark=column) for column in ("own", "aime2025", "math500") for row in rows),
    )
    sample_sets = load_sample_sets([run])
    assert list(dict.fromkeys(one.configuration for one in sample_sets)) == [
        "Baseline",
        "+GRPO",
        "+Agent",
        "DeepMath",
        "mine",
    ]
    assert list(dict.fromkeys(one.benchmark for one in sample_sets)) == ["math500", "aime2025", "own"]


def test_texts_are_dropped_and_outcomes_are_kept(tmp_path: Path) -> None:
    (sample_set,) = load_sample_sets([write(tmp_path / "run", sample(snippets=[OK]))])
    assert sample_set.samples[0].text == ""
    assert sample_set.samples[0].snippets == [{"outcome": "OK"}]


def test_failure_followed_by_a_sample_is_not_a_lost_sample(tmp_path: Path) -> None:
    failed = (sample(number=0), sample(number=1), sample(number=1))
    (sample_set,) = load_sample_sets([write(tmp_path / "run", sample(), failures=failed)])
    assert (sample_set.max_k, sample_set.lost, sample_set.failures) == (1, 1, 3)


def test_configuration_with_only_failures_is_included(tmp_path: Path) -> None:
    sample_sets = load_sample_sets([write(tmp_path / "run", sample(), failures=(sample(configuration="Baseline"),))])
    assert [(one.configuration, len(one.samples), one.lost) for one in sample_sets] == [
        ("Baseline", 0, 1),
        ("DeepMath", 1, 0),
    ]


def test_torn_line_of_the_failures_is_skipped(tmp_path: Path) -> None:
    run = write(tmp_path / "run", sample(), failures=(sample(number=1),))
    with (run / "failures.jsonl").open("a") as file:
        file.write('{"configuration": "Deep')
    assert load_sample_sets([run])[0].failures == 1
    (run / "failures.jsonl").unlink()
    assert load_sample_sets([run])[0].failures == 0


def test_benchmarks_of_two_folders_share_a_row_if_sampled_alike(tmp_path: Path) -> None:
    a = write(tmp_path / "a", sample(), benchmarks=["synthetic"])
    b = write(tmp_path / "b", sample(benchmark="own"), benchmarks=["own"])
    assert {one.configuration for one in load_sample_sets([a, b])} == {"DeepMath"}


@pytest.mark.parametrize(("benchmark", "model"), [("synthetic", "tiny-math"), ("own", "another")])
def test_ambiguous_rows_are_named_after_their_folders(tmp_path: Path, benchmark: str, model: str) -> None:
    a = write(tmp_path / "a", sample(), sample(configuration="Baseline"))
    b = write(tmp_path / "b", sample(benchmark=benchmark), model=model)
    assert [one.configuration for one in load_sample_sets([a, b])] == ["Baseline", "DeepMath (a)", "DeepMath (b)"]


def test_folders_of_the_same_name_are_rejected_if_rows_are_ambiguous(tmp_path: Path) -> None:
    a, b = (write(tmp_path / side / "run", sample()) for side in "ab")
    with pytest.raises(InvalidRequest, match="rename one"):
        load_sample_sets([a, b])


def test_folder_without_an_evaluation_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no evaluation in"):
        load_sample_sets([tmp_path])
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(InvalidRequest, match=r"no evaluation in .*No such file"):
        load_sample_sets([tmp_path])


def test_folder_without_samples_is_rejected_with_advice(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no samples in .* yet; run `deepmath eval"):
        load_sample_sets([write(tmp_path / "run")])


def test_folder_given_twice_is_rejected(tmp_path: Path) -> None:
    run = write(tmp_path / "run", sample())
    with pytest.raises(InvalidRequest, match="given twice"):
        load_sample_sets([run, run / ".." / "run"])
