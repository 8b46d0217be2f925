"""Trajectories whose executors die, disconnect, or are absent."""

import asyncio
import signal

import pytest
from support.ports import free_address

from deepmath.clients import ExecutorClient
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import LocalStack


def same_except_notes_and_times(left: pb.Trajectory, right: pb.Trajectory) -> bool:
    def reduced(trajectory: pb.Trajectory) -> pb.Trajectory:
        copy = pb.Trajectory.FromString(trajectory.SerializeToString())
        copy.ClearField("notes")
        copy.ClearField("seconds")
        for snippet in copy.snippets:
            snippet.result.ClearField("usage")
            snippet.result.ClearField("sequence")
        return copy

    return reduced(left) == reduced(right)


@pytest.fixture(scope="module")
async def whole(solve, two_step) -> tuple[str, pb.Trajectory]:
    """A question, and its undisturbed trajectory with two successful snippets."""
    for question in two_step:
        trajectory = await solve(question, temperature=0)
        if len(trajectory.snippets) == 2 and trajectory.status == pb.STATUS_ANSWERED:
            return question, trajectory
    raise AssertionError("the embedded model solved no two-step problem")


async def test_executor_killed_between_snippets_changes_only_the_notes(solve, whole) -> None:
    question, undisturbed = whole
    addresses = [free_address() for _ in range(2)]
    stacks = [LocalStack(listen={"executor": address}) for address in addresses]
    async with stacks[0], stacks[1], ExecutorClient(",".join(addresses)) as client:
        killed: list[asyncio.Task[int]] = []

        def kill_at_first_result(event: pb.SolveResponse) -> None:
            if event.HasField("result") and not killed:
                killed.append(asyncio.ensure_future(kill_live(stacks)))

        trajectory = await solve(question, temperature=0, client=client, emit=kill_at_first_result)
        assert await killed[0] == 1
    assert any("executor lost" in note and "replaying 1" in note for note in trajectory.notes)
    assert same_except_notes_and_times(trajectory, undisturbed)


async def kill_live(stacks: list[LocalStack]) -> int:
    """Kill the executors that have a session, and return their number."""
    killed = 0
    for stack in stacks:
        async with ExecutorClient(stack.executor) as client:
            live = (await client.get_info()).load.live_sessions
        if live:
            stack.processes[0].send_signal(signal.SIGKILL)
            killed += 1
    return killed


async def test_trajectory_without_any_executor_is_an_infrastructure_failure(solve, whole) -> None:
    async with ExecutorClient(free_address(), patience_s=0.5) as client:
        trajectory = await solve(whole[0], temperature=0, client=client)
    assert trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
    assert trajectory.answer == ""
    assert "no executor" in trajectory.notes[-1]


async def test_wall_clock_budget_ends_the_wait_for_an_executor(solve, whole) -> None:
    async with ExecutorClient(free_address(), patience_s=60) as client:
        trajectory = await solve(whole[0], temperature=0, client=client, wall_ms=3000)
    assert trajectory.status == pb.STATUS_TIME_BUDGET


async def test_generator_without_executors_names_the_option(solve, whole) -> None:
    trajectory = await solve(whole[0], temperature=0, client=None)
    assert trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
    assert "--executor" in trajectory.notes[-1]


async def test_wait_for_an_executor_does_not_block_other_trajectories(solve, whole) -> None:
    async with ExecutorClient(free_address(), patience_s=60) as client:
        waiting = asyncio.create_task(solve(whole[0], temperature=0, client=client))
        await asyncio.sleep(0.5)
        other = await solve(whole[0], temperature=0)
        assert other.status == pb.STATUS_ANSWERED
        assert not waiting.done()
        waiting.cancel()
