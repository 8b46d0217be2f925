"""SIGTERM under load: the generator completes its trajectories before it exits."""

import asyncio
import signal
from collections.abc import AsyncIterator
from itertools import count

import pytest
from support.secured import Served, serving

from deepmath.clients import GeneratorClient
from deepmath.data.synthetic import generate
from deepmath.errors import Overloaded, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.timeout(900)]

_WORKERS, _ROUNDS, _PROMPTS = 6, 6, 8


class Load:
    """Workers that request at least `_ROUNDS` batches each until `enough` is set, and retry what is missing."""

    def __init__(self, client: GeneratorClient) -> None:
        self._client = client
        self.enough = asyncio.Event()
        self.batches = 0
        self.trajectories: list[pb.Trajectory] = []
        self.interruptions: list[str] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for worker in range(_WORKERS):
                workers.create_task(self._work(worker))

    async def _work(self, worker: int) -> None:
        for batch in count():
            if batch >= _ROUNDS and self.enough.is_set():
                return
            self.batches += 1
            seed = worker + _WORKERS * batch
            missing = {
                str(number): pb.RolloutPrompt(id=str(number), question=problem.problem, seed=number)
                for number, problem in enumerate(generate(_PROMPTS, "test", seed))
            }
            while missing:
                try:
                    async for response in self._client.rollout(missing.values()):
                        del missing[response.id]
                        self.trajectories.append(response.trajectory)
                except (Unavailable, Overloaded) as error:
                    self.interruptions.append(str(error))
                    await asyncio.sleep(0.2)


@pytest.fixture
async def other(executor_address, tmp_path) -> AsyncIterator[Served]:
    """A second generator, for the test to stop."""
    options = ("--model", EMBEDDED_MODEL, "--executor", executor_address, *EMBEDDED_OPTIONS, "--drain-seconds=60")
    async with serving("generator", tmp_path, *options) as served:
        yield served


async def test_sigterm_under_load_loses_no_trajectory(generator_address, other) -> None:
    async with GeneratorClient(f"{generator_address},{other.address}") as client, GeneratorClient(other.address) as one:
        load = Load(client)
        working = asyncio.create_task(load.run())
        while not (await one.get_info()).live_trajectories:
            assert not working.done()
            await asyncio.sleep(0.02)
        other.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await other.process.wait() == 0
        assert not working.done()  # the shared generator still serves
        load.enough.set()
        await working
    assert load.batches >= _WORKERS * _ROUNDS
    assert len(load.trajectories) == load.batches * _PROMPTS
    assert all(trajectory.status != pb.STATUS_INFRASTRUCTURE_FAILED for trajectory in load.trajectories)
    assert load.interruptions == []
