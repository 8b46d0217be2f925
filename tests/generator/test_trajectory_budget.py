"""Budgets are never exceeded, not even by one token."""

import asyncio

import pytest
from deepmath_generator.trajectory_budget import TrajectoryBudget

from deepmath.data.synthetic import generate
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

QUESTIONS = [problem.problem for problem in generate(24, "test", 2)]


def tokens(trajectory: pb.Trajectory) -> int:
    return trajectory.model_tokens + trajectory.tool_tokens


@pytest.mark.parametrize("mode", ["agent", "plain"])
async def test_no_trajectory_exceeds_its_token_budget(solve, mode: str) -> None:
    budgets = range(1, 97)
    runs = await asyncio.gather(
        *(solve(QUESTIONS[n % len(QUESTIONS)], seed=n, mode=mode, max_tokens=n) for n in budgets)
    )
    assert all(tokens(run) <= budget for run, budget in zip(runs, budgets, strict=True))
    spent = [run for run, budget in zip(runs, budgets, strict=True) if tokens(run) == budget]
    assert any(run.status == pb.STATUS_TOKEN_BUDGET for run in spent), "no trajectory ended because of its budget"


async def test_output_over_the_budget_ends_the_trajectory_and_is_omitted(solve, two_step) -> None:
    whole = await solve(two_step[0], temperature=0)
    first_tool = next(i for i, s in enumerate(whole.segments) if s.source == pb.Segment.SOURCE_TOOL)
    room = sum(len(s.token_ids) for s in whole.segments[: first_tool + 1]) - 1
    cut = await solve(two_step[0], temperature=0, max_tokens=room)
    assert cut.status == pb.STATUS_TOKEN_BUDGET
    assert cut.tool_tokens == 0
    assert len(cut.snippets) == 1


async def test_no_step_exceeds_its_token_budget_and_the_turn_continues(solve) -> None:
    run = await solve(QUESTIONS[0], seed=1, mode="plain", max_step_tokens=7)
    assert max(len(segment.token_ids) for segment in run.segments) == 7
    assert len(run.segments) > 2


async def test_no_trajectory_exceeds_its_step_budget(solve) -> None:
    run = await solve(QUESTIONS[0], seed=1, mode="plain", max_step_tokens=3, max_steps=4)
    assert run.status == pb.STATUS_STEP_BUDGET
    assert len(run.segments) == 4


async def test_prompt_and_trajectory_never_exceed_the_context(solve, engine) -> None:
    question = "3 " * ((engine.context_length - 60) // 3)
    run = await solve(question, seed=1, mode="plain")
    assert len(run.prompt_token_ids) + tokens(run) <= engine.context_length


async def test_wall_clock_budget_ends_a_trajectory_with_the_tokens_so_far(solve) -> None:
    run = await solve(QUESTIONS[0], seed=1, mode="plain", wall_ms=30, max_step_tokens=2000)
    assert run.status in (pb.STATUS_TIME_BUDGET, pb.STATUS_ANSWERED)
    assert run.seconds < 5


async def test_no_snippet_starts_after_the_executor_budget_is_exhausted(solve, two_step) -> None:
    runs = await asyncio.gather(*(solve(question, seed=2, executor_ms=1) for question in two_step[:16]))
    times = [[snippet.result.usage.wall_ms for snippet in run.snippets] for run in runs]
    assert any(times)
    assert all(sum(snippets[:-1]) < 1 for snippets in times)


@pytest.mark.parametrize("field", [field.name for field in pb.Budget.DESCRIPTOR.fields])
@pytest.mark.parametrize("value", [0, -1])
def test_budget_below_one_is_rejected_by_name(config, field: str, value: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"budget\.{field} is {value}"):
        TrajectoryBudget.default(config).override(pb.Budget(**{field: value}))
