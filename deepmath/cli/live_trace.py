"""A trajectory on a terminal: prose, highlighted snippets, their outputs, the boxed answer."""

from typing import TYPE_CHECKING

from deepmath.data.transcript import ProseStream, parse_transcript

if TYPE_CHECKING:
    from rich.console import Console

    from deepmath.generator.v1 import generator_pb2 as pb


class LiveTrace:
    """Shows the events of one sample while they come."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._prose = ProseStream()
        self._at_line_start = True

    def show(self, event: "pb.SolveResponse") -> None:
        """Show one event."""
        match event.WhichOneof("event"):
            case "text":
                self._write(self._prose.feed(event.text.text))
            case "snippet":
                self._snippet(event.snippet.code)
            case "result":
                self._output(event.result.text)
            case "note":
                self._line(f"({event.note.text})", "yellow")
            case "trajectory":
                self._end(event.trajectory)

    def _write(self, prose: str) -> None:
        if self._at_line_start:
            prose = prose.lstrip("\n")
        if prose:
            self._console.print(prose, end="", markup=False, highlight=False)
            self._at_line_start = prose.endswith("\n")

    def _line(self, text: str, style: str) -> None:
        if not self._at_line_start:
            self._console.print()
        self._at_line_start = True
        if text:
            self._console.print(text, style=style, markup=False, highlight=False)

    def _snippet(self, code: str) -> None:
        from rich.padding import Padding
        from rich.syntax import Syntax

        self._line("", "")
        self._console.print(
            Padding(Syntax(code, "python", theme="ansi_dark", background_color="default"), (0, 0, 0, 4))
        )

    def _output(self, text: str) -> None:
        self._line("\n".join(f"  → {line}" for line in text.splitlines()), "cyan")

    def _end(self, trajectory: "pb.Trajectory") -> None:
        from deepmath.generator.v1 import generator_pb2 as pb

        status = pb.Status.Name(trajectory.status).removeprefix("STATUS_").lower().replace("_", " ")
        tokens = f"{trajectory.model_tokens} + {trajectory.tool_tokens} tokens"
        counts = f"{len(trajectory.snippets)} snippets, {tokens}, {trajectory.seconds:.1f} s"
        self._line("", "")
        if trajectory.answer:
            self._console.print(f"[bold green]┃ {_escape(trajectory.answer)} ┃[/]  [dim]{counts}[/]")
        else:
            self._console.print(f"[bold red]no answer: {status}[/]  [dim]{counts}[/]")
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            self._line("\n".join(trajectory.notes), "red")


def show_whole(console: "Console", trajectory: "pb.Trajectory") -> None:
    """Show a trajectory that has ended."""
    from deepmath.generator.v1 import generator_pb2 as pb

    trace = LiveTrace(console)
    snippets = iter(trajectory.snippets)
    for part in parse_transcript(trajectory.text):
        if part.kind == "prose":
            trace.show(pb.SolveResponse(text=pb.TextDelta(text=part.text)))
        elif part.kind == "output":
            trace.show(pb.SolveResponse(result=pb.ToolResult(text=part.text)))
        elif snippet := next(snippets, None):
            trace.show(pb.SolveResponse(snippet=pb.SnippetStarted(code=snippet.code)))
    trace.show(pb.SolveResponse(trajectory=trajectory))


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
