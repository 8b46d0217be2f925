from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deepmath_generator.agent_loop import AgentLoop
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.inference_engine import InferenceEngine, SampledTokens
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.trajectory_budget import TrajectoryBudget

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.data.synthetic import generate
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL

if TYPE_CHECKING:
    from deepmath_generator.vllm_engine import VllmEngine


class RecordingEngine:
    """The shared engine, with a record of its prompts and samples."""

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine
        self.prompts: list[list[int]] = []
        self.samples: list[SampledTokens] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def generate(self, prompt_ids: list[int], *arguments, **options) -> SampledTokens:
        self.prompts.append(list(prompt_ids))
        sample = await self._engine.generate(prompt_ids, *arguments, **options)
        self.samples.append(sample)
        return sample


@pytest.fixture
def recording(engine: InferenceEngine) -> RecordingEngine:
    return RecordingEngine(engine)


@pytest.fixture(scope="session")
def tokenizer():
    """The embedded model's tokenizer, without an engine."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(EMBEDDED_MODEL)


@pytest.fixture(scope="session")
def template(config: GeneratorConfig) -> PromptTemplate:
    return PromptTemplate.load(config.model)


@pytest.fixture(scope="session")
def solve(
    engine: InferenceEngine, executor: ExecutorClient, config: GeneratorConfig, template: PromptTemplate
) -> Callable[..., Awaitable[pb.Trajectory]]:
    """Runs one trajectory in this process: `await solve(question, seed=..., budget fields...)`."""

    async def run(
        question: str, *, seed=None, temperature=1.0, mode="agent", engine=engine, client=executor, emit=None, **budget
    ) -> pb.Trajectory:
        loop = AgentLoop(engine, client, config.tool_output_bytes)
        ids = template.encode(engine.tokenizer, question, mode)
        sampling = SamplingOptions(temperature, 1.0, 0, seed)
        return await loop.run(ids, mode, sampling, TrajectoryBudget.default(config).override(pb.Budget(**budget)), emit)

    return run


@pytest.fixture(scope="session")
def two_step() -> list[str]:
    """Questions whose second snippet uses a variable of the first."""
    from deepmath.data.synthetic.two_step import FAMILIES

    names = {family.name for family in FAMILIES}
    return [problem.problem for problem in generate(400, "test", 5) if problem.family in names]


@dataclass
class UpdatableGenerator:
    """A generator at policy version 0 that accepts updates, around the shared engine."""

    engine: "VllmEngine"
    client: GeneratorClient

    async def sample(self, prompt_ids: list[int], max_tokens: int = 48, **options) -> SampledTokens:
        """Sample greedily, up to `max_tokens` or the end of the turn."""
        return await self.engine.generate(prompt_ids, SamplingOptions(0.0, 1.0, 0), max_tokens=max_tokens, **options)

    async def loaded_adapters(self) -> int:
        return len(await self.engine._llm.list_loras())


@pytest.fixture(scope="session")
def checkpoint_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture
async def updatable(config: GeneratorConfig, serve_generator, checkpoint_root):
    changes = {"checkpoint_root": str(checkpoint_root), "max_adapter_bytes": 4 << 20, "upload_seconds": 3}
    changed = config.model_copy(update=changes)
    async with serve_generator(changed) as served, GeneratorClient(served.address) as client:
        yield UpdatableGenerator(served.engine, client)


@pytest.fixture(scope="session")
def prompt_ids(tokenizer, template: PromptTemplate) -> list[int]:
    return template.encode(tokenizer, next(generate(1, "test", 0)).problem, "plain")
