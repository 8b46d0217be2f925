"""Taskset of maths problems, synthetic ones without end or those of a benchmark, graded in a sandbox."""

import asyncio
import sys
from collections.abc import Iterator

import verifiers.v1 as vf

from deepmath.data.synthetic import generate
from deepmath.errors import InvalidRequest
from deepmath.evaluation.benchmark_registry import find_benchmark
from deepmath.grading.answer_extraction import extract_boxed
from deepmath.grading.shared_verifier import shared_verifier
from deepmath.grading.verdict import Reason
from deepmath.integrations.verifiers.python_toolset import PythonToolset, PythonToolsetConfig, SandboxState

_SYNTHETIC = "synthetic"
_INSTRUCTIONS = (
    "Solve the problem. Let the tool `python` do the computations. End with the final answer, in its simplest exact "
    r"form, in \boxed{}."
)


class MathsTasksetConfig(vf.TasksetConfig):
    """Problems, and the sandbox that Python runs in."""

    problems: str = _SYNTHETIC
    """synthetic, a benchmark (`deepmath eval --help` lists them), or a file of problems."""
    split: str = "train"
    """Of synthetic problems (train or test), or of a dataset that is no known benchmark."""
    seed: int = 0
    """Of synthetic problems."""
    instructions: str = _INSTRUCTIONS
    """System text; none if empty."""
    python: bool = True
    """Whether the model has the tool `python`. Without: a model that needs none, as the gateway's agent."""
    sandbox: PythonToolsetConfig = PythonToolsetConfig()


class MathsData(vf.TaskData):
    """A problem and its gold answer."""

    answer: str


class MathsTask(vf.Task[MathsData, SandboxState]):
    """One problem. After an infrastructure failure a rollout ends with `SandboxError`, and has no reward."""

    @vf.stop
    async def lost_sandbox(self, trace: vf.Trace) -> bool:
        """Whether to stop: a rollout without its sandbox is lost."""
        return bool(trace.state.failure)

    async def finalize(self, trace: vf.Trace, runtime: vf.Runtime) -> None:
        """Raise the failure, which verifiers records as the rollout's error.

        Raises:
            SandboxError: There was one.
        """
        del runtime
        if trace.state.failure:
            raise vf.SandboxError(trace.state.failure)

    @vf.reward
    async def accuracy(self, trace: vf.Trace) -> float:
        r"""Return 1 if the last `\boxed{}` of the last reply equals the gold answer, 0 otherwise.

        Raises:
            SandboxError: The comparison failed for no fault of the answer.
            ValueError: The gold answer cannot be read.
        """
        pair = (self.data.answer, extract_boxed(trace.last_reply))
        (verdict,) = await asyncio.to_thread(shared_verifier().verify, [pair])
        if verdict.reason is Reason.FAILED:
            raise vf.SandboxError(verdict.reason)
        if verdict.correct is None:
            raise ValueError(verdict.reason)
        return float(verdict.correct)


class MathsTaskset(vf.Taskset[MathsTask, MathsTasksetConfig]):
    """Problems with the sandbox as their tool.

    Raises:
        InvalidRequest: There are no such problems.
    """

    def __init__(self, config: MathsTasksetConfig) -> None:
        super().__init__(config)
        self.INFINITE = config.problems == _SYNTHETIC

    def load(self) -> Iterator[MathsTask]:
        """Yield the problems, synthetic ones without end."""
        config = self.config
        if self.INFINITE:
            for drawn in generate(sys.maxsize, config.split, config.seed):
                yield self._task(drawn.id, drawn.family, drawn.problem, drawn.answer)
            return
        for problem in find_benchmark(config.problems, config.split).problems():
            if problem.entry:
                raise InvalidRequest(f"{config.problems} has scorers of its own; verifiers needs problems with answers")
            yield self._task(problem.id, problem.family, problem.text, problem.answer)

    @classmethod
    def toolsets(cls, config: MathsTasksetConfig) -> list[vf.Toolset]:
        """Return the tool server that the rollouts of a worker share."""
        return [PythonToolset(config.sandbox)] if config.python else []

    def _task(self, own_id: str, family: str, question: str, answer: str) -> MathsTask:
        data = MathsData(
            id=own_id,
            description=family or None,
            prompt=question,
            system_prompt=self.config.instructions or None,
            answer=answer,
        )
        return MathsTask(data, self.config.task)
