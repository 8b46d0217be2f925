from collections.abc import Callable

import pytest

from deepmath.clients import ExecutorClient
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.problems import generate
from services.generator.budget import Budget
from services.generator.config import GeneratorConfig
from services.generator.engine import Engine, Sample
from services.generator.loop import AgentLoop
from services.generator.prompt import PromptTemplate
from services.generator.sampling import Sampling


class RecordingEngine:
    """The real engine, with a record of what it read and drew."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.prompts: list[list[int]] = []
        self.samples: list[Sample] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def generate(self, prompt_ids: list[int], *arguments, **options) -> Sample:
        self.prompts.append(list(prompt_ids))
        sample = await self._engine.generate(prompt_ids, *arguments, **options)
        self.samples.append(sample)
        return sample


@pytest.fixture
def recording(engine: Engine) -> RecordingEngine:
    return RecordingEngine(engine)


@pytest.fixture(scope="session")
def template(config: GeneratorConfig) -> PromptTemplate:
    return PromptTemplate.load(config.model)


@pytest.fixture(scope="session")
def solve(engine: Engine, executor: ExecutorClient, config: GeneratorConfig, template: PromptTemplate) -> Callable:
    """Runs one trajectory in this process: `await solve(question, seed=..., budget fields...)`."""

    async def run(
        question: str, *, seed=None, temperature=1.0, mode="agent", engine=engine, client=executor, emit=None, **budget
    ) -> pb.Trajectory:
        loop = AgentLoop(engine, client, config.tool_output_bytes)
        ids = template.encode(engine.tokenizer, question, mode)
        sampling = Sampling(temperature, 1.0, 0, seed)
        return await loop.run(ids, mode, sampling, Budget.default(config).merged(pb.Budget(**budget)), emit)

    return run


@pytest.fixture(scope="session")
def two_step() -> list[str]:
    """Questions whose second snippet uses a variable of the first."""
    from deepmath.problems.two_step import FAMILIES

    names = {family.name for family in FAMILIES}
    return [problem.problem for problem in generate(400, "test", 5) if problem.family in names]
