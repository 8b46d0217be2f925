"""Runs on one generator, without workers: whose policy samples after another run, a restart, and a lack of room."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_generator.service import SERVICE_NAME, GeneratorServicer
from deepmath_trainer import generator_replicas
from deepmath_trainer.generator_replicas import GeneratorReplicas

from benchmarks.kill_matrix_generator import PolicyBoundEngine
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.serving.grpc_server import GrpcServer


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/generator.sock"


@asynccontextmanager
async def generator(address: str, max_adapters: int = 2) -> AsyncIterator[None]:
    """Serve a generator with the model as loaded for a block."""
    config = GeneratorConfig(
        model=str(EMBEDDED_MODEL), listen=address, max_adapters=max_adapters, checkpoint_root="/", context_length=2048
    )
    engine: Any = PolicyBoundEngine(max_adapters)
    servicer = GeneratorServicer(config, engine, None, PromptTemplate.load(config.model))
    server = await GrpcServer.start(config, {SERVICE_NAME: servicer.register})
    yield
    await server.stop(0)


class Run:
    """A run's side of a generator."""

    def __init__(self, folder: Path, address: str, name: str, adapters: bool = True) -> None:
        self._folder, self._name = folder, name
        self._replicas = GeneratorReplicas([address], run=name, adapters=adapters)

    @classmethod
    @asynccontextmanager
    async def of(cls, *arguments: Any, **options: Any) -> AsyncIterator["Run"]:
        run = cls(*arguments, **options)
        await run._replicas.start(0)
        yield run
        await run._replicas.close()

    async def publish(self, step: int) -> None:
        policy = self._folder / f"{self._name}-{step}"
        policy.mkdir()
        (policy / "adapter_config.json").write_text('{"base_model_name_or_path": "tiny-math"}')
        for name in ("adapter_model.safetensors", "model.safetensors"):
            (policy / name).write_text(policy.name)
        await self._replicas.publish(policy, step)

    async def sample(self) -> str:
        """Return a sample of the run's policy: its content, and no other, determines it."""
        prompt, plain = pb.RolloutPrompt(question="1 + 1?", seed=1), pb.MODE_PLAIN
        while not (responses := await self._replicas.rollout([prompt], 1.0, plain, pb.Budget())):
            pass
        (segment,) = responses[0].trajectory.segments
        assert segment.policy_version == self._replicas.step
        return segment.text + str(list(segment.logprobs))


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator_replicas, "_RETRY_S", 0.05)


async def test_new_run_starts_from_the_model_as_loaded(tmp_path, address) -> None:
    async with generator(address):
        samples = []
        for name in ("first", "second", "third"):
            async with Run.of(tmp_path, address, name) as run:
                samples.append(await run.sample())
                await run.publish(1)
                assert await run.sample() != samples[-1]
    assert samples == samples[:1] * 3


async def test_more_runs_than_room_each_sample_with_their_own_policies(tmp_path, address) -> None:
    async with (
        generator(address, max_adapters=2),
        Run.of(tmp_path, address, "a") as a,
        Run.of(tmp_path, address, "b") as b,
        Run.of(tmp_path, address, "c") as c,
    ):
        own = []
        for run in (a, b, c):
            await run.publish(1)
            own.append(await run.sample())
        assert len(set(own)) == 3
        assert [await run.sample() for run in (c, a, b, a, c)] == [own[2], own[0], own[1], own[0], own[2]]


@pytest.mark.parametrize("adapters", [True, False])
async def test_restarted_generator_gets_the_policy_before_it_samples(tmp_path, address, adapters: bool) -> None:
    async with AsyncExitStack() as first:
        await first.enter_async_context(generator(address))
        async with Run.of(tmp_path, address, "a", adapters) as run:
            await run.publish(1)
            before = await run.sample()
            await first.aclose()
            async with generator(address):
                assert await run.sample() == before


async def test_run_without_lora_that_another_displaced_is_rejected(tmp_path, address) -> None:
    async with (
        generator(address),
        Run.of(tmp_path, address, "a", adapters=False) as a,
        Run.of(tmp_path, address, "b", adapters=False) as b,
    ):
        untrained = await a.sample()
        await a.publish(1)
        assert await b.sample() == untrained
        await b.publish(1)
        with pytest.raises(InvalidRequest, match="the run a has lost this generator to version 1 of the run b"):
            await a.publish(2)
        async with Run.of(tmp_path, address, "c") as lora:
            assert await lora.sample() == untrained
