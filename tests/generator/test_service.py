"""The service over gRPC: events, rollouts, cancellation, and rejected requests."""

import asyncio
from typing import Any

import pytest
from deepmath_generator.admission import TrajectoryAdmission
from grpc_health.v1 import health_pb2
from support.health import health_stub

from deepmath.clients.channel import open_channel
from deepmath.clients.credentials import Credentials
from deepmath.data.synthetic import generate
from deepmath.errors import InvalidRequest, Overloaded
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.answer_normalization import same_canonical_form

PROBLEMS = list(generate(320, "test", 3))
QUESTION = PROBLEMS[0].problem


async def events(generator, question: str = QUESTION, **options) -> list[pb.SolveResponse]:
    return [event async for event in generator.solve(question, **options)]


async def test_solve_ends_with_the_vote_of_its_samples(generator) -> None:
    received = await events(generator, samples=6)
    answers = [event.trajectory.answer for event in received if event.HasField("trajectory")]
    assert len(answers) == 6
    assert received[-1].HasField("vote")
    assert sum(count.votes for count in received[-1].vote.counts) == sum(bool(answer) for answer in answers)


async def test_hundreds_of_concurrent_trajectories_all_end_each_with_its_own_prompt(generator, executor) -> None:
    prompts = [pb.RolloutPrompt(id=problem.id, question=problem.problem) for problem in PROBLEMS]
    ended = [response async for response in generator.rollout(prompts)]
    assert sorted(response.prompt_index for response in ended) == list(range(len(PROBLEMS)))
    assert all(response.id == PROBLEMS[response.prompt_index].id for response in ended)
    assert all(response.trajectory.status != pb.STATUS_INFRASTRUCTURE_FAILED for response in ended)
    correct = [
        same_canonical_form(response.trajectory.answer, PROBLEMS[response.prompt_index].answer) for response in ended
    ]
    assert sum(correct) > len(correct) / 4
    await eventually(lambda: no_sessions(executor))


async def test_engine_reports_its_batch_and_its_cache(generator, engine) -> None:
    statistics = engine.statistics
    queried, hits = statistics.queried_tokens, statistics.hit_tokens
    prompts = [pb.RolloutPrompt(question=QUESTION) for _ in range(32)]
    rollout = generator.rollout(prompts, mode=pb.MODE_PLAIN)
    await anext(rollout)
    assert statistics.running > 0
    assert 0 < statistics.cache_usage < 1
    async for _ in rollout:
        pass
    assert (statistics.running, statistics.waiting) == (0, 0)
    assert 0 <= statistics.hit_tokens - hits < statistics.queried_tokens - queried


async def test_plain_mode_runs_no_snippet(generator) -> None:
    prompts = [pb.RolloutPrompt(question=problem.problem) for problem in PROBLEMS[:32]]
    async for response in generator.rollout(prompts, mode=pb.MODE_PLAIN):
        assert not response.trajectory.snippets
        assert response.trajectory.tool_tokens == 0


async def test_cancelled_rollout_leaves_no_request_and_no_sandbox(generator, engine, executor) -> None:
    prompts = [pb.RolloutPrompt(question=problem.problem) for problem in PROBLEMS]
    rollout = generator.rollout(prompts)
    await anext(rollout)
    assert engine._llm.get_num_unfinished_requests() > 0
    await rollout.aclose()

    async def is_idle() -> bool:
        info = await generator.get_info()
        idle = info.live_trajectories == 0 and engine._llm.get_num_unfinished_requests() == 0
        return idle and await no_sessions(executor)

    await eventually(is_idle)


async def no_sessions(executor) -> bool:
    return (await executor.get_info()).load.live_sessions == 0


async def eventually(condition, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  (state of another process)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"question": ""}, "question is empty"),
        ({"question": "  \n"}, "question is empty"),
        ({"question": "x" * 1_000_000}, "question has 1000000 bytes"),
        ({"question": "12 " * 5000}, "prompt of .* tokens"),
        ({"samples": -1}, "samples"),
        ({"samples": 100_000}, "samples"),
        ({"budget": pb.Budget(max_tokens=-1)}, "budget.max_tokens"),
        ({"sampling": pb.Sampling(temperature=-0.5)}, "sampling.temperature"),
        ({"sampling": pb.Sampling(temperature=2.5)}, "sampling.temperature"),
        ({"sampling": pb.Sampling(temperature=float("nan"))}, "sampling.temperature"),
        ({"sampling": pb.Sampling(top_p=0)}, "sampling.top_p"),
        ({"sampling": pb.Sampling(top_k=-5)}, "sampling.top_k"),
        ({"sampling": pb.Sampling(seed=-5)}, "sampling.seed"),
        ({"mode": 17}, "mode"),
    ],
)
async def test_invalid_field_is_rejected_by_name(generator, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        await events(generator, **options)


async def test_rollout_without_prompts_is_rejected(generator) -> None:
    with pytest.raises(InvalidRequest, match="prompts: 0"):
        await anext(generator.rollout([]))


async def test_rollout_error_names_the_invalid_prompt(generator) -> None:
    with pytest.raises(InvalidRequest, match=r"prompts\[1\]\.question is empty"):
        await anext(generator.rollout([pb.RolloutPrompt(question="1+1"), pb.RolloutPrompt(question="")]))


async def test_info_has_model_policy_defaults_and_limits(generator, engine) -> None:
    info = await generator.get_info()
    assert (info.model, info.context_length, info.policy_version) == ("tiny-math", engine.context_length, 0)
    assert info.prompt_template == "tiny-math"
    assert info.default_budget.max_steps == 50
    assert (info.max_lora_rank, info.takes_checkpoints) == (32, False)


async def test_health_is_serving(generator_address: str) -> None:
    async with open_channel(generator_address, Credentials.load(generator_address)) as channel:
        check = health_pb2.HealthCheckRequest(service="deepmath.generator.v1.GeneratorService")
        response = await health_stub(channel).Check(check)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_what_would_never_fit_is_no_reason_to_retry() -> None:
    admission = TrajectoryAdmission(slots=2, waiting=1)
    with pytest.raises(InvalidRequest, match="4 trajectories in one request exceed 3"), admission.admit(4):
        pass
    with admission.admit(3):
        pass


async def test_full_queue_rejects_with_a_retry_delay() -> None:
    admission = TrajectoryAdmission(slots=2, waiting=1)
    with admission.admit(3), pytest.raises(Overloaded) as full, admission.admit(1):
        pass
    assert full.value.retry_after_ms > 0
    with admission.admit(3):
        pass
