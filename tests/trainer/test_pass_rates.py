"""Estimated pass rates follow the observations, of a problem itself, of its kind, and of the policy."""

import json
import math
from random import Random

import pytest
from deepmath_trainer.pass_rates import PassCount, PassRates, kind_of, pass_rate
from hypothesis import given
from hypothesis import strategies as st

from deepmath.data.dataset_problem import DatasetProblem


def problem(text: str, family: str = "", difficulty: int | None = None) -> DatasetProblem:
    return DatasetProblem(text, text, "1", None, family, difficulty)


def after(*groups: tuple[DatasetProblem, float, int], rates: PassRates | None = None) -> PassRates:
    counts = [(kind_of(one), PassCount(one.digest, passed, samples)) for one, passed, samples in groups]
    return (rates or PassRates()).after(counts)


def rate(rates: PassRates, one: DatasetProblem) -> float:
    return pass_rate(rates.log_odds(*kind_of(one), one.digest))


def test_kind_has_what_the_dataset_has() -> None:
    assert kind_of(problem("?")) == ("policy",)
    assert kind_of(problem("?", "gcd")) == ("policy", "family gcd")
    assert kind_of(problem("?", difficulty=0)) == ("policy", "difficulty 0")
    assert len(kind_of(problem("?", "gcd", 3))) == 4


def test_problem_that_was_never_sampled_is_estimated_by_its_kind() -> None:
    rates = after((problem("a", "gcd", 1), 8, 8), (problem("b", "gcd", 3), 0, 8), (problem("c", "lcm", 1), 7, 8))
    estimates = {
        (family, level): rate(rates, problem("new", family, level)) for family in ("gcd", "lcm") for level in (1, 3)
    }
    assert estimates["gcd", 1] > 0.65
    assert estimates["gcd", 3] < 0.35
    assert estimates["gcd", 3] < estimates["lcm", 3] < estimates["lcm", 1], "a kind never sampled: its parts"
    assert rate(rates, problem("b", "gcd", 3)) < estimates["gcd", 3], "the problem itself most of all"


@pytest.mark.parametrize("true_rate", [0.02, 0.3, 0.5, 0.9, 0.99])
def test_estimate_approaches_the_pass_rate_and_follows_its_change(true_rate: float) -> None:
    random, rates = Random(0), PassRates()
    for target in (1 - true_rate, true_rate):
        estimates = []
        for _ in range(200):
            rates = after((problem("a", "gcd", 1), sum(random.random() < target for _ in range(8)), 8), rates=rates)
            estimates.append(rate(rates, problem("a", "gcd", 1)))
        assert sum(estimates[100:]) / 100 == pytest.approx(target, abs=0.08)


def test_group_without_samples_changes_no_estimate() -> None:
    one = problem("a", "gcd", 1)
    known = after((one, 6, 8))
    assert rate(after((one, 0, 0), rates=known), one) == rate(known, one)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 64), st.integers(0, 64)), max_size=40))
def test_estimates_stay_finite_and_survive_json(groups: list[tuple[int, int, int]]) -> None:
    problems = [problem(str(number), "f", number % 2) for number in range(4)]
    rates = PassRates()
    for number, passed, samples in groups:
        rates = after((problems[number], min(passed, samples), samples), rates=rates)
    again = PassRates.of(json.loads(json.dumps(rates.to_json())))
    for one in problems:
        assert 0 <= rate(rates, one) <= 1
        assert rate(again, one) == rate(rates, one)


@given(st.floats(-1e6, 1e6))
def test_pass_rate_of_any_log_odds(log_odds: float) -> None:
    assert 0 <= pass_rate(log_odds) <= 1
    assert math.isclose(pass_rate(log_odds) + pass_rate(-log_odds), 1)
