"""Consistency of each problem family: question, code, working and answer agree."""

import ast
import re
from random import Random
from typing import Any

import pytest

from deepmath.data.synthetic import DIFFICULTIES, FAMILIES, Parameters, ProblemFamily, ProblemInstance

DRAWS = 120
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def draws(family: ProblemFamily, count: int = DRAWS) -> list[Parameters]:
    random = Random(family.name)
    return [family.draws[number % len(family.draws)](random) for number in range(count)]


def last_output(snippets: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the output of the last snippet when all run in one namespace, as in one session."""
    namespace: dict[str, Any] = {}
    for snippet in snippets:
        capsys.readouterr()
        *statements, last = ast.parse(snippet).body
        assert isinstance(last, ast.Expr)
        exec(compile(ast.Module(statements, []), "snippet", "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), "snippet", "eval"), namespace)
    return capsys.readouterr().out.strip() or repr(value)


def test_registry_has_at_least_24_families_with_distinct_names() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES) >= 24


def test_at_least_three_families_use_a_variable_of_the_first_snippet_in_the_second() -> None:
    assert sum(len(family.code) == 2 for family in FAMILIES) >= 3


@pytest.mark.parametrize("family", [f for f in FAMILIES if len(f.code) == 2], ids=lambda family: family.name)
def test_second_snippet_fails_without_the_first(family: ProblemFamily) -> None:
    second = family.snippets(draws(family, 1)[0])[1]
    with pytest.raises(NameError):
        eval(second, {})


@every_family
def test_snippets_compute_the_answer(family: ProblemFamily, capsys: pytest.CaptureFixture[str]) -> None:
    for parameters in draws(family):
        assert last_output(family.snippets(parameters), capsys) == family.answer_text(parameters), parameters


@every_family
def test_every_equation_of_the_working_is_true(family: ProblemFamily) -> None:
    checked = 0
    for parameters in draws(family):
        for equation in re.findall(r"[\d+\-*/()=]*\d=[\d+\-*/()=]*\d", family.steps(parameters)):
            values = {eval(side) for side in equation.split("=")}
            assert len(values) == 1, (parameters, equation)
            checked += 1
    assert checked > DRAWS


@every_family
def test_working_contains_the_answer(family: ProblemFamily) -> None:
    for parameters in draws(family):
        answer = family.answer_text(parameters)
        assert re.search(rf"(?<![\d]){re.escape(answer)}(?!\d)", family.steps(parameters)), parameters


@every_family
def test_working_of_hard_problems_is_much_longer_than_the_code(family: ProblemFamily) -> None:
    random = Random(family.name)
    for parameters in [family.draws[-1](random) for _ in range(DRAWS)]:
        assert len(family.steps(parameters)) > sum(map(len, family.snippets(parameters)))


@every_family
def test_answer_is_short_enough_for_a_small_model(family: ProblemFamily) -> None:
    assert max(len(family.answer_text(parameters)) for parameters in draws(family)) <= 7


@every_family
def test_wordings_are_four_or_more_and_distinct(family: ProblemFamily) -> None:
    parameters = draws(family, 1)[0]
    questions = {family.question(parameters, wording) for wording in range(len(family.wordings))}
    assert len(questions) == len(family.wordings) >= 4


@every_family
def test_every_wording_states_every_parameter(family: ProblemFamily) -> None:
    names = set(draws(family, 1)[0])
    for wording in family.wordings:
        assert set(re.findall(r"\{(\w+)\}", wording)) == names


@every_family
def test_every_grade_has_enough_instances_and_a_bounded_working(family: ProblemFamily) -> None:
    random = Random(family.name)
    for draw, least in zip(family.draws, (40, 150, 150), strict=True):
        drawn = [draw(random) for _ in range(4000)]
        assert len({family.canonical(parameters) for parameters in drawn}) >= least
        assert max(len(family.steps(parameters)) for parameters in drawn[:DRAWS]) < 1400


@every_family
def test_grades_of_difficulty_share_no_instance(family: ProblemFamily) -> None:
    random = Random(family.name)
    seen = [{family.canonical(draw(random)) for _ in range(1000)} for draw in family.draws]
    assert len(seen) == DIFFICULTIES
    assert len(set().union(*seen)) == sum(map(len, seen))


@every_family
def test_working_grows_with_difficulty(family: ProblemFamily) -> None:
    random = Random(family.name)
    means = [sum(len(family.steps(draw(random))) for _ in range(DRAWS)) / DRAWS for draw in family.draws]
    assert means[0] < means[1] < means[2]


def test_swapped_summands_are_the_same_instance() -> None:
    family = next(family for family in FAMILIES if family.name == "product")
    one, other = ({"a": 47, "b": 83}, {"a": 83, "b": 47})
    assert family.canonical(one) == family.canonical(other)
    assert ProblemInstance(family, one, 0, 1).split == ProblemInstance(family, other, 1, 1).split
