"""Sources of reasoning-gym's problems: expressions and files, most of them wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.data.reasoning_gym.gym_source import PREFIX, GymSource, is_gym_source, tasks_of
from deepmath.errors import InvalidRequest
from deepmath.grading.gym_entry import GymTask


def parts(text: str) -> list[tuple[str, str, float]]:
    source = GymSource.parse(PREFIX + text)
    return [(part.task.name, part.task.options, part.weight) for part in source.parts]


def test_one_task() -> None:
    assert parts("chain_sum") == [("chain_sum", "{}", 1.0)]
    assert is_gym_source("reasoning-gym:gcd")
    assert not is_gym_source("gcd")
    assert tasks_of("synthetic") == frozenset()


def test_mix_with_weights_and_options() -> None:
    assert parts("chain_sum(min_terms=3, allow_negation=True)*2 + gcd + coin_flip(styles=['a', -1.5]) * 0.5") == [
        ("chain_sum", '{"allow_negation": true, "min_terms": 3}', 2.0),
        ("gcd", "{}", 1.0),
        ("coin_flip", '{"styles": ["a", -1.5]}', 0.5),
    ]


def test_order_of_options_does_not_matter() -> None:
    assert tasks_of("reasoning-gym:a(x=1, y=2)") == tasks_of("reasoning-gym:a(y=2,x=1)")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "+", "a+", "*2", "2", "'a'", "a b", "a.b", "a(1)", "a(*x)", "a(**x)", "a(x=y)", "a(x=f())"),
        *("a(x=1", "a*b", "a-b", "a*2*2", "2*a", "(a+b)*2", "a(x=1e999)", "a(x={1})", "a(x=b'1')", "a(x=...)"),
        *("a*0", "a*-1", "a*True", "a*'2'", "a*1e999", "a+a", "a(x=1)+a(x=1)*2", "a(seed=1)", "a(size=2)"),
        *("__import__('os').system('x')", "a;b", "a\nb", "lambda: 0", "a" * 5000, "(" * 500, "+".join("ab" * 400)),
        *("[" * 1900, "a+" * 1900 + "b", "a(x=" + "[" * 900 + "]" * 900 + ")", "\0", "\ud800", "missing.yaml"),
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parts(text)


@given(st.text(max_size=40) | st.text("ab()+*=1,.'[] \n", max_size=40))
def test_any_text_is_a_source_or_refused(text: str) -> None:
    try:
        GymSource.parse(PREFIX + text)
    except InvalidRequest:
        pass


def mix(folder: Path, content: str) -> str:
    (folder / "mix.yaml").write_text(content)
    return f"{folder}/mix.yaml"


def test_file_in_the_format_of_the_library(tmp_path: Path) -> None:
    content = "datasets:\n- name: gcd\n- {name: chain_sum, weight: 2, config: {min_terms: 3}}\n"
    assert parts(mix(tmp_path, content)) == [("gcd", "{}", 1.0), ("chain_sum", '{"min_terms": 3}', 2.0)]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "datasets: []", "datasets: 1", "a: [", "datasets: [gcd]", "datasets: [{weight: 1}]", "\0"),
        *(
            "datasets: [{name: gcd, weight: 0}]",
            "datasets: [{name: gcd, config: [1]}]",
            "datasets: [{name: gcd, x: 1}]",
        ),
        *("datasets: [{name: gcd}]\nseed: 1", "datasets: [{name: gcd, config: {a: 2020-01-01}}]"),
        "datasets: [{name: gcd}, {name: gcd}]",
    ],
)
def test_file_with_mistakes_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidRequest):
        parts(mix(tmp_path, content))


def test_task_has_no_hidden_state() -> None:
    assert GymTask("a") == GymTask("a", "{}")
