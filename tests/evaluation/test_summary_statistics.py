"""Statistics of small runs, checked against values counted by hand."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.evaluation_runs import FAILED, OK, of_answers, sample, write

from deepmath.evaluation.answer_classes import judge_problems
from deepmath.evaluation.graded_sample import GradedSample
from deepmath.evaluation.sample_sets import SampleSet, load_sample_sets
from deepmath.evaluation.summary_statistics import SummaryStatistics, summarize
from deepmath.grading.verifier import Verifier


def statistics_of_set(sample_set: SampleSet) -> SummaryStatistics:
    with Verifier(1, 10.0) as verifier:
        (problems,) = judge_problems([sample_set], verifier)
    return summarize(sample_set, problems)


def statistics(*samples: GradedSample) -> SummaryStatistics:
    return statistics_of_set(SampleSet("DeepMath", "synthetic", Path(), samples))


def test_scores_for_every_k_match_the_samples() -> None:
    found = statistics(*of_answers("42", "42", "7", "8"), *of_answers("7", "", "", "42", problem_id="p2"))
    assert found.mean.value == (2 / 4 + 1 / 4) / 2
    assert found.max_k == 4
    assert [one.value for one in found.pass_at] == pytest.approx([3 / 8, (5 / 6 + 1 / 2) / 2, 7 / 8, 1])
    assert found.majority_at[0].value == pytest.approx(3 / 8)
    assert found.majority_at[3].value == (1 + 1 / 2) / 2
    assert found.tied == 1
    assert found.majority_at[3].low <= found.majority_at[3].value <= found.majority_at[3].high


def test_infrastructure_failure_is_counted_separately_and_is_not_an_incorrect_answer(tmp_path: Path) -> None:
    run = write(tmp_path / "run", sample(), failures=(sample(number=1), sample(number=2)))
    (sample_set,) = load_sample_sets([run])
    found = statistics_of_set(sample_set)
    assert (found.lost, found.failures, found.samples) == (2, 2, 1)
    assert found.mean.value == found.majority_at[-1].value == 1


def test_sample_without_a_verdict_has_a_length_and_no_score() -> None:
    found = statistics(
        sample(model_tokens=10, tool_tokens=0), sample(number=1, correct=None, model_tokens=30, tool_tokens=0)
    )
    assert (found.unjudged, found.samples, found.max_k) == (1, 2, 2)
    assert found.mean.value == 1
    assert found.tokens.mean.value == 20
    assert (found.problems_short_of(1), found.problems_short_of(2)) == (0, 1)
    assert found.majority_at[1].value == 1


def test_lengths_are_given_for_model_and_tool_tokens_and_their_sum() -> None:
    found = statistics(*(sample(number=at, model_tokens=at, tool_tokens=100) for at in range(101)))
    assert (found.model_tokens.mean.value, found.tool_tokens.mean.value, found.tokens.mean.value) == (50, 100, 150)
    assert (found.tokens.p50, found.tokens.p90, found.tokens.p99) == (150, 190, 199)
    assert found.lengths == tuple(range(100, 201))


def test_snippets_are_counted_by_outcome_and_sandbox_failures_are_excluded_from_the_failure_rate() -> None:
    broken = OK | {"outcome": "SANDBOX_FAILED"}
    found = statistics(sample(snippets=[OK, OK, FAILED, broken]), sample(number=1))
    assert found.snippets.value == 2
    assert found.outcomes == {"OK": 2, "EXCEPTION": 1, "SANDBOX_FAILED": 1}
    assert found.snippet_failure_rate == pytest.approx(1 / 3)
    assert statistics(sample()).snippet_failure_rate is None


def test_samples_are_counted_by_final_status() -> None:
    assert statistics(*of_answers("42", "7", "")).statuses == {"ANSWERED": 2, "NO_ANSWER": 1}


def test_set_without_a_verdict_is_rejected() -> None:
    with pytest.raises(ValueError, match="no problems"):
        statistics(sample(correct=None))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["42", "7", "8"]), min_size=1, max_size=8))
def test_majority_at_1_and_pass_at_1_equal_the_mean(answers: list[str]) -> None:
    found = statistics(*of_answers(*answers))
    assert found.majority_at[0].value == pytest.approx(found.mean.value)
    assert found.pass_at[0].value == pytest.approx(found.mean.value)


@settings(max_examples=20, deadline=None)
@given(st.permutations(of_answers("42", "7", "", "42") + of_answers("8", "42", problem_id="p2")))
def test_statistics_do_not_depend_on_the_order_of_the_samples(samples: list[GradedSample]) -> None:
    assert statistics(*samples) == statistics(*of_answers("42", "7", "", "42"), *of_answers("8", "42", problem_id="p2"))
