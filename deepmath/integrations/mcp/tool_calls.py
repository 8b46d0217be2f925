"""The tools: their names, arguments and descriptions, and the services that they need."""

from collections.abc import AsyncIterator, Collection
from typing import Any, NamedTuple, Protocol

from mcp.server.context import ServerRequestContext
from pydantic import BaseModel, ConfigDict, Field

from deepmath.clients import GeneratorClient
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2

MAX_SAMPLES = 64
RequestContext = ServerRequestContext[Any, Any]


class NoArguments(BaseModel):
    """No arguments."""

    model_config = ConfigDict(extra="forbid")


class PythonArguments(BaseModel):
    """Code to run."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(description="Python source. The value of the last expression is part of the result.")


class SolveArguments(BaseModel):
    """A problem to solve. Defaults of sampling and budget are the generator's."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, description="The problem as text.")
    samples: int = Field(1, ge=1, le=MAX_SAMPLES, description="Independent samples; the majority answers.")
    temperature: float | None = Field(None, ge=0, le=2, description="Sampling temperature; 0 is greedy.")
    seed: int | None = Field(None, ge=0, lt=1 << 63, description="Seed of the samples.")
    max_tokens: int | None = Field(None, ge=1, lt=1 << 31, description="Token budget of a sample.")

    def solve_with(self, generator: GeneratorClient) -> AsyncIterator[generator_pb2.SolveResponse]:
        """Solve the problem and yield its events."""
        sampling = generator_pb2.Sampling(temperature=self.temperature, seed=self.seed)
        budget = generator_pb2.Budget(max_tokens=self.max_tokens)
        return generator.solve(self.question, samples=self.samples, sampling=sampling, budget=budget)


class ToolDefinition(NamedTuple):
    """A tool as clients see it."""

    title: str
    description: str
    arguments: type[BaseModel]


PYTHON, CLEANUP, SOLVE = "python", "cleanup_session", "solve"

TOOLS = {
    PYTHON: ToolDefinition(
        "Python",
        "Run Python in a sandbox without network and files. Variables live between calls. The standard library's "
        "computing modules, numpy, scipy, sympy, mpmath and networkx can be imported. Returns what the code prints "
        "and the value of its last expression.",
        PythonArguments,
    ),
    CLEANUP: ToolDefinition("End the session", "End the sandbox of `python`; all variables are lost.", NoArguments),
    SOLVE: ToolDefinition(
        "Solve a problem",
        "Let a maths agent solve a problem. It writes Python, runs it, and reasons about the results.",
        SolveArguments,
    ),
}


class ToolBackend(Protocol):
    """The services behind the tools, for the client of a request.

    Methods raise `DeepMathError`: `InvalidRequest` if the arguments are at fault, `Unavailable` or `Overloaded` if a
    service failed.
    """

    async def offered(self, context: RequestContext) -> Collection[str]:
        """Return the names of the tools that the client may use."""
        ...

    async def run_python(self, context: RequestContext, code: str) -> executor_pb2.SnippetResult:
        """Run code in the client's session."""
        ...

    async def end_session(self, context: RequestContext) -> None:
        """End the client's session, if it has one."""
        ...

    def solve(self, context: RequestContext, arguments: SolveArguments) -> AsyncIterator[generator_pb2.SolveResponse]:
        """Solve a problem and yield its events. Leaving the iterator ends the work."""
        ...
