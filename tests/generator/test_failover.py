"""What happens to trajectories when executors die, hang up, or are not there."""

import asyncio
import json
import signal
from contextlib import suppress
from dataclasses import dataclass

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.ports import free_address

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS, LocalStack


def same_but_for_notes_and_times(left: pb.Trajectory, right: pb.Trajectory) -> bool:
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
    """A question, and its undisturbed trajectory with two snippets that ran well."""
    for question in two_step:
        trajectory = await solve(question, temperature=0)
        if len(trajectory.snippets) == 2 and trajectory.status == pb.STATUS_ANSWERED:
            return question, trajectory
    raise AssertionError("the embedded model solved no two-step problem")


async def test_executor_killed_between_snippets_changes_nothing_but_the_notes(solve, whole) -> None:
    question, undisturbed = whole
    addresses = [free_address() for _ in range(2)]
    stacks = [LocalStack(listen={"executor": address}) for address in addresses]
    async with stacks[0], stacks[1], ExecutorClient(",".join(addresses)) as client:
        killed = []

        def kill_the_one_in_use(event: pb.SolveResponse) -> None:
            if event.HasField("result") and not killed:
                killed.append(asyncio.ensure_future(kill_live(stacks)))

        trajectory = await solve(question, temperature=0, client=client, emit=kill_the_one_in_use)
        assert await killed[0] == 1
    assert any("executor lost" in note and "replaying 1" in note for note in trajectory.notes)
    assert same_but_for_notes_and_times(trajectory, undisturbed)


async def kill_live(stacks: list[LocalStack]) -> int:
    """Kill the executors that have a session, without warning, and return how many those were."""
    killed = 0
    for stack in stacks:
        async with ExecutorClient(stack.executor) as client:
            live = (await client.get_info()).load.live_sessions
        if live:
            stack.processes[0].send_signal(signal.SIGKILL)
            killed += 1
    return killed


async def test_trajectory_without_any_executor_is_marked_as_our_failure(solve, whole) -> None:
    async with ExecutorClient(free_address(), patience_s=0.5) as client:
        trajectory = await solve(whole[0], temperature=0, client=client)
    assert trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
    assert trajectory.answer == ""
    assert "no executor" in trajectory.notes[-1]


async def test_trajectory_that_waits_for_an_executor_is_ended_by_its_wall_clock_budget(solve, whole) -> None:
    async with ExecutorClient(free_address(), patience_s=60) as client:
        trajectory = await solve(whole[0], temperature=0, client=client, wall_ms=3000)
    assert trajectory.status == pb.STATUS_TIME_BUDGET


async def test_generator_without_executors_says_how_to_give_it_some(solve, whole) -> None:
    trajectory = await solve(whole[0], temperature=0, client=None)
    assert trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
    assert "--executor" in trajectory.notes[-1]


async def test_waiting_for_an_executor_holds_up_no_other_trajectory(solve, whole) -> None:
    async with ExecutorClient(free_address(), patience_s=60) as client:
        waiting = asyncio.create_task(solve(whole[0], temperature=0, client=client))
        await asyncio.sleep(0.5)
        other = await solve(whole[0], temperature=0)
        assert other.status == pb.STATUS_ANSWERED
        assert not waiting.done()
        waiting.cancel()


@pytest.mark.slow
async def test_engine_killed_under_a_trajectory_marks_it_and_ends_the_service(executor_address, whole) -> None:
    options = {"generator": EMBEDDED_OPTIONS}
    async with LocalStack(str(EMBEDDED_MODEL), executor=executor_address, arguments=options) as stack:
        (process,) = stack.processes
        async with GeneratorClient(stack.generator) as client:
            for child in psutil.Process(process.pid).children():
                child.kill()
            prompt = pb.RolloutPrompt(question=whole[0])
            trajectory = (await anext(client.rollout([prompt]))).trajectory
        assert trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
        assert "engine has died" in trajectory.notes[-1]
        async with asyncio.timeout(60):
            assert await process.wait() == 1


@dataclass
class End:
    """How a generator ended whose engine died while nobody asked it for anything."""

    healths: list[int]
    status: int
    log: list[str]


@pytest.fixture(scope="module")
async def end(executor_address) -> End:
    options = {"generator": [*EMBEDDED_OPTIONS, "--log-format=json", "--log-level=info", "--drain-seconds=1"]}
    async with LocalStack(str(EMBEDDED_MODEL), executor=executor_address, arguments=options) as stack:
        (process,) = stack.processes
        async with grpc.aio.insecure_channel(stack.generator) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            healths = [(await anext(aiter(watch))).status]
            for child in psutil.Process(process.pid).children():
                child.kill()
            async with asyncio.timeout(60):
                with suppress(grpc.aio.AioRpcError):  # the end of the service
                    async for answer in watch:
                        healths.append(answer.status)
                status = await process.wait()
        return End(healths, status, (stack.folder / "generator.log").read_text().splitlines())


@pytest.mark.slow
def test_engine_killed_while_nobody_asks_it_ends_the_service_that_says_so(end) -> None:
    serving = health_pb2.HealthCheckResponse.ServingStatus
    assert end.healths == [serving.Value("SERVING"), serving.Value("NOT_SERVING")]
    assert end.status == 1


@pytest.mark.slow
def test_generator_that_logs_json_writes_nothing_of_its_own_as_text_but_its_last_words(end) -> None:
    assert end.log[-1].startswith("deepmath serve generator: the service has lost a dependency")
    told = [json.loads(line) for line in end.log if line.startswith("{")]
    assert {line["service"] for line in told} == {"generator"}
    assert not [line for line in end.log[:-1] if "deepmath" in line and not line.startswith("{")]
