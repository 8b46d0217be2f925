"""Paired comparisons of configurations and runs."""

from pathlib import Path
from typing import Any

import pytest
from support.evaluation_runs import of_answers, sample, write

from deepmath.errors import InvalidRequest
from deepmath.evaluation.answer_classes import judge_problems
from deepmath.evaluation.estimators import mcnemar_p_value
from deepmath.evaluation.graded_sample import GradedSample
from deepmath.evaluation.run_comparison import RunComparison, compare
from deepmath.evaluation.sample_sets import load_sample_sets
from deepmath.grading.verifier import Verifier


def compared(sides: tuple[object, object], *folders: Path, k: int | None = None) -> list[RunComparison]:
    sample_sets = load_sample_sets(folders)
    with Verifier(1, 10.0) as verifier:
        judged = list(zip(sample_sets, judge_problems(sample_sets, verifier), strict=True))
    return compare((str(sides[0]), str(sides[1])), judged, k)


def of_problems(answers: str, **changes: Any) -> list[GradedSample]:
    """Return one sample per problem, correct where the digit is 1."""
    return [sample(f"p{at}", 0, "42" if one == "1" else "7", **changes) for at, one in enumerate(answers)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    baseline = of_problems("0000111", configuration="Baseline")
    return write(tmp_path / "run", *of_problems("1111010"), *baseline)


def test_wins_and_losses_are_listed_by_problem_with_mcnemars_test(run: Path) -> None:
    (found,) = compared(("DeepMath", "Baseline"), run)
    assert found.wins == ["p0", "p1", "p2", "p3"]
    assert found.losses == ["p4", "p6"]
    assert found.p_value == mcnemar_p_value(4, 2)
    assert found.difference.value == pytest.approx(2 / 7)


def test_swapping_the_sides_swaps_wins_and_losses(run: Path) -> None:
    (one,), (other,) = compared(("DeepMath", "Baseline"), run), compared(("Baseline", "DeepMath"), run)
    assert (one.wins, one.losses, one.p_value) == (other.losses, other.wins, other.p_value)


def test_runs_are_compared_configuration_by_configuration(run: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", *of_problems("1111111"), *of_problems("0000111", configuration="Baseline"))
    found = compared((run, other), run, other)
    assert [(one.first, one.second, len(one.losses)) for one in found] == [
        ("Baseline (run)", "Baseline (other)", 0),
        ("DeepMath (run)", "DeepMath (other)", 2),
    ]


def test_runs_with_a_single_configuration_each_are_compared_regardless_of_names(tmp_path: Path) -> None:
    a = write(tmp_path / "a", *of_problems("10"))
    b = write(tmp_path / "b", *of_problems("01", configuration="Baseline"))
    (found,) = compared((a, b), a, b)
    assert (found.first, found.second) == ("DeepMath", "Baseline")


def test_by_default_as_many_samples_vote_as_both_sides_have_and_ties_share_the_credit(tmp_path: Path) -> None:
    run = write(tmp_path / "run", *of_answers("42", "7", "7", "7"), *of_answers("42", "42", configuration="Baseline"))
    (found,) = compared(("DeepMath", "Baseline"), run)
    assert (found.k, found.credits) == (2, {"p1": (0.5, 1.0)})
    (found,) = compared(("DeepMath", "Baseline"), run, k=1)
    assert found.credits == {"p1": (1.0, 1.0)}


def test_problems_of_only_one_side_are_excluded_and_counted(tmp_path: Path) -> None:
    run = write(tmp_path / "run", *of_problems("111"), *of_problems("1", configuration="Baseline"))
    (found,) = compared(("DeepMath", "Baseline"), run)
    assert (len(found.credits), found.excluded) == (1, 2)


def test_different_benchmarks_are_rejected_with_the_benchmarks_of_each_side(run: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", sample(benchmark="math500"), benchmarks=["math500"])
    with pytest.raises(
        InvalidRequest, match=r"run has synthetic and .*other has math500; give two with a common benchmark"
    ):
        compared((run, other), run, other)


def test_benchmarks_that_only_share_their_name_are_rejected(run: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", sample("q1"))
    with pytest.raises(InvalidRequest, match="no problem in common"):
        compared((run, other), run, other)
    changed = write(tmp_path / "changed", sample("p1", answer="1", gold="1"))
    with pytest.raises(InvalidRequest, match="the gold answer of p1 is '42' in one and '1' in the other"):
        compared((run, changed), run, changed)


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (("DeepMath", "Deepmath"), "there is no 'Deepmath' to compare; give two of Baseline, DeepMath"),
        (("DeepMath", "DeepMath"), "with itself"),
    ],
)
def test_missing_or_identical_side_is_rejected(run: Path, sides: tuple[str, str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        compared(sides, run)
