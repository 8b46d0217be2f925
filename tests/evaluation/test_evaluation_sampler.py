"""Samples of a plan, drawn from a real generator: each once, reproducible, and none for an infrastructure failure."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.adapters import write_adapter

from deepmath.clients import GeneratorClient
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.evaluation import evaluation_sampler
from deepmath.evaluation.benchmark_registry import find_benchmark
from deepmath.evaluation.evaluation_files import count_failures, read_samples
from deepmath.evaluation.evaluation_plan import EvaluationConfiguration, EvaluationPlan, four_way
from deepmath.evaluation.evaluation_run import EvaluationRun
from deepmath.evaluation.evaluation_sampler import EvaluationSampler
from deepmath.evaluation.graded_sample import GradedSample
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier

AGENT = EvaluationConfiguration("+Agent", "agent")
Draw = Callable[..., Awaitable[tuple[int, list[GradedSample]]]]


def plan(
    *configurations: EvaluationConfiguration, problems: int = 6, samples: int = 2, **changes: Any
) -> EvaluationPlan:
    values: dict[str, Any] = {
        "model": "tiny-math",
        "problems": {"synthetic": find_benchmark("synthetic").problems(problems)},
        "configurations": configurations or (AGENT,),
        "samples": samples,
        "sampling": pb.Sampling(temperature=1.0, top_p=1.0, top_k=0),
        "budget": pb.Budget(max_tokens=160),
    }
    return EvaluationPlan(**values | changes)


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(2, 5.0) as verifier:
        yield verifier


@pytest.fixture
def draw(generator: GeneratorClient, verifier: Verifier, tmp_path: Path) -> Draw:
    """`await draw(plan, folder="run")` draws a plan and returns the number of missing samples, and the samples."""

    async def run(
        plan: EvaluationPlan, folder: str = "run", client: GeneratorClient = generator
    ) -> tuple[int, list[GradedSample]]:
        with EvaluationRun(tmp_path / folder, plan.settings()) as run:
            missing = await EvaluationSampler(client, run, plan, verifier).draw()
        return missing, list(read_samples(tmp_path / folder))

    return run


async def test_each_sample_is_drawn_once_with_verdict_tokens_and_snippets(draw: Draw) -> None:
    wanted = plan()
    missing, samples = await draw(wanted)
    assert missing == 0
    assert sorted(one.key for one in samples) == sorted(key for key, _ in wanted.keys(AGENT, "synthetic"))
    golds = {problem.id: problem.answer for problem in wanted.problems["synthetic"]}
    for one in samples:
        assert one.gold == golds[one.problem_id]
        assert one.correct in {True, False}
        assert one.model_tokens > 0
        assert one.snippets == [] or one.tool_tokens > 0
    groups = {problem.id: (problem.family, problem.difficulty) for problem in wanted.problems["synthetic"]}
    assert [(one.family, one.difficulty) for one in samples] == [groups[one.problem_id] for one in samples]
    assert any(one.correct for one in samples)
    assert any(snippet["outcome"] == "OK" and snippet["code"] for one in samples for snippet in one.snippets)


async def test_same_plan_draws_the_same_samples_and_another_seed_different_ones(draw: Draw) -> None:
    texts = []
    for number, seed in enumerate([0, 0, 1]):
        _, samples = await draw(plan(seed=seed), str(number))
        texts.append({one.key: one.text for one in samples})
    assert texts[0] == texts[1] != texts[2]


async def test_larger_plan_extends_an_existing_run(draw: Draw, tmp_path: Path) -> None:
    await draw(plan(samples=1))
    before = (tmp_path / "run" / "samples.jsonl").read_bytes()
    missing, samples = await draw(plan(problems=8, samples=3))
    assert missing == 0
    assert len({one.key for one in samples}) == len(samples) == 24
    assert (tmp_path / "run" / "samples.jsonl").read_bytes().startswith(before)


async def test_infrastructure_failure_is_not_a_sample_and_is_retried(
    draw: Draw, serve_generator: Any, tmp_path: Path
) -> None:
    async with serve_generator(executor=None) as served, GeneratorClient(served.address) as without:
        missing, samples = await draw(plan(), client=without)
    assert 0 < missing == 12 - len(samples)
    assert count_failures(tmp_path / "run").total() == missing * evaluation_sampler.ATTEMPTS
    missing, samples = await draw(plan())
    assert (missing, len(samples)) == (0, 12)


async def test_unreachable_generator_is_reported_and_existing_samples_stay(
    draw: Draw, free_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await draw(plan(samples=1))
    monkeypatch.setattr(evaluation_sampler, "ATTEMPTS", 1)
    async with GeneratorClient(f"127.0.0.1:{free_port}") as away:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await draw(plan(samples=2), client=away)
    assert len(list(read_samples(tmp_path / "run"))) == 6


async def test_rejection_by_the_generator_is_reported(draw: Draw) -> None:
    with pytest.raises(InvalidRequest, match="top_p"):
        await draw(plan(sampling=pb.Sampling(top_p=2.0)))


async def test_four_way_plan_draws_from_the_model_and_then_from_the_model_with_the_adapter(
    draw: Draw, fresh_generator: str, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", seed=1)
    wanted = plan(*four_way(), problems=2, samples=1, adapter=adapter, budget=pb.Budget(max_tokens=48))
    async with GeneratorClient(fresh_generator) as client:
        missing, samples = await draw(wanted, client=client)
        assert (await client.get_info()).policy_version == 1
    assert missing == 0
    texts = {(one.configuration, one.problem_id): one.text for one in samples}
    assert {one.mode for one in samples if one.configuration in {"Baseline", "+GRPO"}} == {"plain"}
    for problem in wanted.problems["synthetic"]:
        assert texts["Baseline", problem.id] != texts["+GRPO", problem.id]
        assert texts["+Agent", problem.id] != texts["DeepMath", problem.id]


async def test_adapter_is_evaluated_whatever_a_run_loads_meanwhile(
    draw: Draw, fresh_generator: str, tmp_path: Path
) -> None:
    adapter, other = (write_adapter(tmp_path / str(seed), seed=seed) for seed in (1, 2))

    class Shared(GeneratorClient):
        """A run loads its own adapter after each of this client's."""

        async def update_adapter(self, directory: Path, version: int, model: str | None = None, **options: Any) -> int:
            served = await super().update_adapter(directory, version, model, **options)
            await super().update_adapter(other, 1, run=f"another than {options['run']}")
            return served

    configuration = EvaluationConfiguration("DeepMath", "agent", adapter=True)
    wanted = plan(configuration, problems=2, samples=1, adapter=adapter, budget=pb.Budget(max_tokens=48))
    drawn = []
    for folder, kind in (("alone", GeneratorClient), ("shared", Shared)):
        async with kind(fresh_generator) as client:
            missing, samples = await draw(wanted, folder, client)
        assert missing == 0
        drawn.append({one.problem_id: one.text for one in samples})
    assert drawn[0] == drawn[1]


def test_another_adapter_is_rejected_as_another_evaluation(tmp_path: Path) -> None:
    first, second = (plan(adapter=write_adapter(tmp_path / str(seed), seed)).settings() for seed in (1, 2))
    with EvaluationRun(tmp_path / "run", first):
        pass
    with pytest.raises(InvalidRequest, match="adapter"):
        EvaluationRun(tmp_path / "run", second)
