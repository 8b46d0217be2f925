"""Figures of small runs, which can be counted by hand."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.evaluation_runs import FAILED, OK, of_answers, sample, write

from deepmath.evaluation.answer_classes import judge
from deepmath.evaluation.evaluation_run import GradedSample
from deepmath.evaluation.sample_records import SampleRecord, load
from deepmath.evaluation.summary_statistics import SummaryStatistics, figures
from deepmath.grading.verifier import Verifier


def count(record: SampleRecord) -> SummaryStatistics:
    with Verifier(1, 10.0) as verifier:
        (problems,) = judge([record], verifier)
    return figures(record, problems)


def of(*samples: GradedSample) -> SummaryStatistics:
    return count(SampleRecord("DeepMath", "synthetic", Path(), samples))


def test_scores_are_those_of_the_samples_for_every_k() -> None:
    found = of(*of_answers("42", "42", "7", "8"), *of_answers("7", "", "", "42", problem_id="p2"))
    assert found.mean.value == (2 / 4 + 1 / 4) / 2
    assert found.drawn == 4
    assert [one.value for one in found.pass_at] == pytest.approx([3 / 8, (5 / 6 + 1 / 2) / 2, 7 / 8, 1])
    assert found.majority_at[0].value == pytest.approx(3 / 8)
    assert found.majority_at[3].value == (1 + 1 / 2) / 2
    assert found.tied == 1
    assert found.majority_at[3].low <= found.majority_at[3].value <= found.majority_at[3].high


def test_failure_of_ours_is_counted_apart_and_is_no_wrong_answer(tmp_path: Path) -> None:
    run = write(tmp_path / "run", sample(), failures=(sample(number=1), sample(number=2)))
    (record,) = load([run])
    found = count(record)
    assert (found.lost, found.failures, found.samples) == (2, 2, 1)
    assert found.mean.value == found.majority_at[-1].value == 1


def test_sample_without_a_verdict_has_a_length_and_no_score() -> None:
    found = of(sample(model_tokens=10, tool_tokens=0), sample(number=1, correct=None, model_tokens=30, tool_tokens=0))
    assert (found.unjudged, found.samples, found.drawn) == (1, 2, 2)
    assert found.mean.value == 1
    assert found.tokens.mean.value == 20
    assert (found.short_of(1), found.short_of(2)) == (0, 1)
    assert found.majority_at[1].value == 1


def test_lengths_are_of_model_and_tools_apart_and_together() -> None:
    found = of(*(sample(number=at, model_tokens=at, tool_tokens=100) for at in range(101)))
    assert (found.model_tokens.mean.value, found.tool_tokens.mean.value, found.tokens.mean.value) == (50, 100, 150)
    assert (found.tokens.p50, found.tokens.p90, found.tokens.p99) == (150, 190, 199)
    assert found.lengths == tuple(range(100, 201))


def test_snippets_are_counted_by_outcome_and_those_of_a_broken_sandbox_are_no_failures() -> None:
    broken = OK | {"outcome": "SANDBOX_FAILED"}
    found = of(sample(snippets=[OK, OK, FAILED, broken]), sample(number=1))
    assert found.snippets.value == 2
    assert found.outcomes == {"OK": 2, "EXCEPTION": 1, "SANDBOX_FAILED": 1}
    assert found.failure_rate == pytest.approx(1 / 3)
    assert of(sample()).failure_rate is None


def test_samples_are_counted_by_why_they_ended() -> None:
    assert of(*of_answers("42", "7", "")).statuses == {"ANSWERED": 2, "NO_ANSWER": 1}


def test_nothing_with_a_verdict_has_no_figures() -> None:
    with pytest.raises(ValueError, match="no problem"):
        of(sample(correct=None))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["42", "7", "8"]), min_size=1, max_size=8))
def test_majority_of_one_is_the_mean_and_so_is_any_of_one(answers: list[str]) -> None:
    found = of(*of_answers(*answers))
    assert found.majority_at[0].value == pytest.approx(found.mean.value)
    assert found.pass_at[0].value == pytest.approx(found.mean.value)


@settings(max_examples=20, deadline=None)
@given(st.permutations(of_answers("42", "7", "", "42") + of_answers("8", "42", problem_id="p2")))
def test_order_in_which_samples_ended_changes_nothing(samples: list[GradedSample]) -> None:
    assert of(*samples) == of(*of_answers("42", "7", "", "42"), *of_answers("8", "42", problem_id="p2"))
