"""Forwarding of a snippet's output while it runs, once, however often the snippet runs."""

from collections.abc import Callable
from functools import partial

from deepmath.executor.v1 import executor_pb2 as pb

OutputHandler = Callable[[str, str], None]
"""Takes the name of a text, `stdout` or `stderr`, and the next part of it."""


class SnippetOutputRelay:
    """Forwards the output of one snippet to `handler`, all of it by the end of `finish`.

    A snippet that runs again on another executor repeats its output, which is forwarded only once. If it writes another
    text this time, the text of its result follows what was forwarded, on a new line.
    """

    def __init__(self, handler: OutputHandler) -> None:
        self._stdout, self._stderr = (_TextRelay(partial(handler, name)) for name in ("stdout", "stderr"))

    def start_run(self) -> Callable[[pb.SnippetOutput], None]:
        """Return the function that takes the output of a new run."""
        self._stdout.start_run()
        self._stderr.start_run()
        return self._add

    def finish(self, result: pb.SnippetResult) -> None:
        """Forward what is left of the output in the snippet's result."""
        self._stdout.finish(result.stdout)
        self._stderr.finish(result.stderr)

    def _add(self, output: pb.SnippetOutput) -> None:
        self._stdout.add(output.stdout)
        self._stderr.add(output.stderr)


class _TextRelay:
    def __init__(self, forward: Callable[[str], None]) -> None:
        self._forward = forward
        self._forwarded: list[str] = []
        self._earlier = ""  # the text of earlier runs
        self._position = 0  # in the text of this run
        self._differs = False  # the text of this run from that of earlier ones

    def start_run(self) -> None:
        self._earlier = "".join(self._forwarded)
        self._position, self._differs = 0, False

    def add(self, text: str) -> None:
        repeated = self._earlier[self._position : self._position + len(text)]
        self._position += len(text)
        self._differs |= not text.startswith(repeated)
        if not self._differs:
            self._send(text[len(repeated) :])

    def finish(self, whole: str) -> None:
        sent = "".join(self._forwarded)
        if whole.startswith(sent):
            self._send(whole[len(sent) :])
        else:
            self._send(whole if sent.endswith("\n") else f"\n{whole}")

    def _send(self, text: str) -> None:
        if text:
            self._forwarded.append(text)
            self._forward(text)
