"""Events of a running trajectory, streamed to the client of `Solve`."""

from collections.abc import Callable

from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.trajectory import Trajectory

Emit = Callable[[pb.SolveResponse], None]


class TrajectoryEvents:
    """Sends the events of `trajectory` to `emit`, or nowhere if that is None."""

    def __init__(self, emit: Emit | None, trajectory: Trajectory) -> None:
        self._emit = emit
        self._trajectory = trajectory
        self._reported = pb.Usage()  # by the snippet events so far

    @property
    def text_receiver(self) -> Callable[[str], None] | None:
        """A receiver of the model's text, or None if nobody receives events."""
        return (lambda text: self._send(text=pb.TextDelta(text=text))) if self._emit else None

    def snippet_started(self, code: str) -> None:
        """Send the code of a snippet, with the usage since the snippet before."""
        before, self._reported = self._reported, self._trajectory.usage
        usage = pb.Usage(
            input_tokens=self._reported.input_tokens - before.input_tokens,
            output_tokens=self._reported.output_tokens - before.output_tokens,
        )
        self._send(snippet=pb.SnippetStarted(code=code, usage=usage))

    def snippet_ended(self, text: str, result: executor.SnippetResult, *, thinking: bool) -> None:
        """Send a snippet's result and its text for the model, and whether the model's next text is thinking."""
        self._send(result=pb.ToolResult(text=text, result=result, thinking=thinking))

    def note(self, text: str) -> None:
        """Add a note to the trajectory and send it."""
        self._trajectory.notes.append(text)
        self._send(note=pb.Note(text=text))

    def _send(self, **event: pb.TextDelta | pb.SnippetStarted | pb.ToolResult | pb.Note) -> None:
        if self._emit:
            self._emit(pb.SolveResponse(**event))  # type: ignore[arg-type]
