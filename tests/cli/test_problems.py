"""`deepmath problems`."""

import json

import pytest


async def test_problems_are_json_lines_with_the_documented_fields(deepmath) -> None:
    ended = await deepmath("problems", "--count", "30", "--split", "test", "--seed", "4")
    problems = [json.loads(line) for line in ended.out.splitlines()]
    assert len(problems) == 30
    assert all(list(problem) == ["id", "family", "problem", "answer"] for problem in problems)


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--split", "dev"], ["--seed", "-1"]])
async def test_incorrect_usage_of_problems_has_exit_status_2(deepmath, arguments: list[str]) -> None:
    assert (await deepmath("problems", *arguments)).status == 2
