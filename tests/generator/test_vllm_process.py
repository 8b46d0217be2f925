"""vLLM's processes are good neighbours. tests/trainer/test_outages.py has their end with a killed generator."""

import asyncio

import psutil

from services.generator.engine import Engine
from services.generator.sampling import Sampling


async def test_processes_of_the_engine_leave_the_cores_to_others_as_soon_as_they_wait(engine: Engine) -> None:
    await engine.generate(engine.tokenizer.encode("1"), Sampling(1.0, 1.0, 0), max_tokens=8, tools=False)
    processes = [one for one in psutil.Process().children(recursive=True) if one.name().startswith("VLLM")]
    assert len(processes) >= 2

    def used() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in processes)

    before = used()
    await asyncio.sleep(0.8)
    assert used() - before < 0.3
