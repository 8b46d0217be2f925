"""`deepmath problems`."""

import json

import pytest

FIELDS = ["id", "family", "difficulty", "problem", "answer"]


async def test_problems_are_json_lines_with_the_documented_fields(deepmath) -> None:
    ended = await deepmath("problems", "--count", "30", "--split", "test", "--seed", "4")
    problems = [json.loads(line) for line in ended.out.splitlines()]
    assert len(problems) == 30
    assert all(list(problem) == FIELDS for problem in problems)


async def test_problems_have_the_requested_difficulties(deepmath) -> None:
    ended = await deepmath("problems", "--count", "200", "--difficulty", "1", "--difficulty", "3")
    problems = [json.loads(line) for line in ended.out.splitlines()]
    assert len(problems) == 200
    assert {problem["difficulty"] for problem in problems} == {1, 3}


async def test_reasoning_gym_has_options_and_no_difficulty(deepmath) -> None:
    ended = await deepmath("problems", "--source", "reasoning-gym:gcd", "--difficulty", "2")
    assert ended.status == 2
    assert "--difficulty applies to synthetic problems only" in ended.err


USAGE = [["--count", "0"], ["--split", "dev"], ["--seed", "-1"], ["--difficulty", "0"], ["--difficulty", "4"]]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
async def test_incorrect_usage_of_problems_has_exit_status_2(deepmath, arguments: list[str]) -> None:
    assert (await deepmath("problems", *arguments)).status == 2


async def test_problems_of_reasoning_gym_have_the_same_fields(deepmath) -> None:
    ended = await deepmath("problems", "--count", "20", "--source", "reasoning-gym:coin_flip(max_trials=4)")
    problems = [json.loads(line) for line in ended.out.splitlines()]
    assert 0 < len(problems) < 20
    assert all(list(problem) == FIELDS for problem in problems)
    assert {problem["family"] for problem in problems} == {"coin_flip"}
    assert {problem["difficulty"] for problem in problems} == {None}
    assert f"no more than {len(problems)} different train problems" in ended.err


@pytest.mark.parametrize(
    ("source", "message"),
    [("gsm8k", "choose synthetic or reasoning-gym:TASK"), ("reasoning-gym:coin_flop", "did you mean coin_flip")],
)
async def test_unknown_source_of_problems_is_named(deepmath, source: str, message: str) -> None:
    ended = await deepmath("problems", "--source", source)
    assert ended.status == 2
    assert message in ended.err
