"""Results as immutable values, without the contracts' messages. They compare, print and pickle."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2


@dataclass(frozen=True, slots=True)
class CodeError:
    """An exception that code raised."""

    type: str
    """Name of its class, with the module unless builtin."""
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class CodeResult:
    """The result of running code in a sandbox. Its texts are hostile: print them as text only."""

    outcome: str
    """OK, EXCEPTION, WALL_TIMEOUT, CPU_TIMEOUT, OUT_OF_MEMORY, OUTPUT_LIMIT, POLICY_VIOLATION or CRASHED."""
    value: str | None
    """The `repr` of the last expression; None if there is none, or it is None."""
    stdout: str
    stderr: str
    error: CodeError | None
    """The exception; with limits and refusals too, where Python raised one."""
    state_lost: bool
    """Whether the variables of the session are lost."""
    wall_seconds: float
    cpu_seconds: float
    dropped_bytes: int
    """Bytes cut from the texts, which have a maximum size."""

    @property
    def ok(self) -> bool:
        """Whether the code completed."""
        return self.outcome == "OK"

    @classmethod
    def of(cls, result: executor_pb2.SnippetResult) -> Self:
        """Return the contract's result as a value."""
        raised, dropped = result.exception, result.dropped_bytes
        return cls(
            outcome=executor_pb2.Outcome.Name(result.outcome).removeprefix("OUTCOME_"),
            value=result.value if result.HasField("value") else None,
            stdout=result.stdout,
            stderr=result.stderr,
            error=CodeError(raised.type, raised.message, raised.traceback) if result.HasField("exception") else None,
            state_lost=result.state_lost,
            wall_seconds=result.usage.wall_ms / 1000,
            cpu_seconds=result.usage.cpu_ms / 1000,
            dropped_bytes=dropped.stdout + dropped.stderr + dropped.value,
        )


@dataclass(frozen=True, slots=True)
class SampledAnswer:
    """One sample: what the model wrote, and the answer in it."""

    answer: str
    """Empty if there is none."""
    status: str
    """ANSWERED, NO_ANSWER, TOKEN_BUDGET, STEP_BUDGET, TIME_BUDGET or INFRASTRUCTURE_FAILED."""
    text: str
    """The model's text with its calls and their outputs."""
    snippets: tuple[str, ...]
    """The Python that the model ran."""
    tokens: int
    """Of model and tools."""
    seconds: float
    notes: tuple[str, ...]

    @classmethod
    def of(cls, trajectory: generator_pb2.Trajectory) -> Self:
        """Return the contract's trajectory as a value."""
        return cls(
            answer=trajectory.answer,
            status=generator_pb2.Status.Name(trajectory.status).removeprefix("STATUS_"),
            text=trajectory.text,
            snippets=tuple(snippet.code for snippet in trajectory.snippets),
            tokens=trajectory.model_tokens + trajectory.tool_tokens,
            seconds=trajectory.seconds,
            notes=tuple(trajectory.notes),
        )


@dataclass(frozen=True, slots=True)
class Solution:
    """The solution of a question: the majority answer over all samples."""

    question: str
    answer: str
    """Empty if no sample has one. As the model wrote it: LaTeX, or a number."""
    votes: dict[str, int]
    """Number of samples by answer, in descending order."""
    samples: tuple[SampledAnswer, ...]

    @classmethod
    def of(cls, question: str, events: Iterable[generator_pb2.SolveResponse]) -> Self:
        """Return the solution from the events of a call.

        Raises:
            Unavailable: Every sample was lost to an infrastructure failure, which is no wrong answer.
        """
        kinds = [(event.WhichOneof("event"), event) for event in events]
        ended = sorted((event for kind, event in kinds if kind == "trajectory"), key=lambda event: event.sample)
        samples = tuple(SampledAnswer.of(event.trajectory) for event in ended)
        if all(sample.status == "INFRASTRUCTURE_FAILED" for sample in samples):
            reasons = "; ".join(dict.fromkeys(note for sample in samples for note in sample.notes))
            raise Unavailable(f"no sample was completed: {reasons or 'the call ended early'}")
        vote = next((event.vote for kind, event in kinds if kind == "vote"), generator_pb2.Vote())
        return cls(question, vote.answer, {count.answer: count.votes for count in vote.counts}, samples)
