"""Events of a running trajectory, streamed to the client of `Solve`."""

from collections.abc import Callable
from typing import Any

from tokenizers.decoders import DecodeStream

from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.trajectory import Trajectory

Emit = Callable[[pb.SolveResponse], None]


class TrajectoryEvents:
    """Sends the events of `trajectory` to `emit`, or nowhere if that is None."""

    def __init__(self, emit: Emit | None, trajectory: Trajectory, tokenizer: Any) -> None:
        self._emit = emit
        self._trajectory = trajectory
        self._tokenizer = tokenizer
        self._reported = pb.Usage()  # by the snippet events so far

    def text_stream(self) -> Callable[[list[int]], None] | None:
        """Return a receiver of one segment's token ids that sends their text, or None if nobody receives events.

        Text is sent once its characters are complete.
        """
        if self._emit is None:
            return None
        stream, backend = DecodeStream(skip_special_tokens=False), self._tokenizer.backend_tokenizer

        def on_tokens(token_ids: list[int]) -> None:
            texts = (stream.step(backend, token) for token in token_ids)
            if text := "".join(text for text in texts if text):
                self._send(text=pb.TextDelta(text=text))

        return on_tokens

    def snippet_started(self, code: str) -> None:
        """Send the code of a snippet, with the usage since the snippet before."""
        before, self._reported = self._reported, self._trajectory.usage
        usage = pb.Usage(
            input_tokens=self._reported.input_tokens - before.input_tokens,
            output_tokens=self._reported.output_tokens - before.output_tokens,
        )
        self._send(snippet=pb.SnippetStarted(code=code, usage=usage))

    def snippet_ended(self, text: str, result: executor.SnippetResult) -> None:
        """Send a snippet's result and its text for the model."""
        self._send(result=pb.ToolResult(text=text, result=result))

    def note(self, text: str) -> None:
        """Add a note to the trajectory and send it."""
        self._trajectory.notes.append(text)
        self._send(note=pb.Note(text=text))

    def _send(self, **event: pb.TextDelta | pb.SnippetStarted | pb.ToolResult | pb.Note) -> None:
        if self._emit:
            self._emit(pb.SolveResponse(**event))  # type: ignore[arg-type]
