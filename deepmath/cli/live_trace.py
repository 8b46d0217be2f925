"""Rendering of a trajectory on a terminal: prose, highlighted snippets, their outputs, the boxed answer."""

from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from deepmath.cli.text_console import TextConsole, line, text
from deepmath.dialects import known_dialect
from deepmath.dialects.transcript import parse_transcript
from deepmath.dialects.turn_splitter import TurnSplitter
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.printable_text import printable

# Of a snippet; longer ones are shown plain. Pygments takes time quadratic in the length of hostile code: here a second.
_MAX_HIGHLIGHTED_CHARACTERS = 4000


class LiveTrace:
    """Prints the events of one sample as they arrive."""

    def __init__(self, console: TextConsole, dialect: str = "tool-call") -> None:
        self._console = console
        self._prose = TurnSplitter(known_dialect(dialect).marks)
        self._at_line_start = True

    def show(self, event: pb.SolveResponse) -> None:
        """Print one event."""
        match event.WhichOneof("event"):
            case "text":
                self._show_prose(self._prose.feed_text(event.text.text))
            case "snippet":
                self._prose.end_call()
                self._show_snippet(event.snippet.code)
            case "result":
                self._show_line("\n".join(f"  → {row}" for row in event.result.text.split("\n") if row), "cyan")
            case "note":
                self._show_line(f"({event.note.text})", "yellow")
            case "trajectory":
                self._show_end(event.trajectory)

    def _show_prose(self, prose: str) -> None:
        if self._at_line_start:
            prose = prose.lstrip("\n")
        if prose:
            self._console.print(text(prose), end="")
            self._at_line_start = prose.endswith("\n")

    def _show_line(self, content: str, style: str) -> None:
        """Print `content` on lines of its own."""
        if not self._at_line_start:
            self._console.print()
        self._at_line_start = True
        if content:
            self._console.print(text(content, style))

    def _show_snippet(self, code: str) -> None:
        self._show_line("", "")
        code = printable(code)
        lexer = "python" if len(code) <= _MAX_HIGHLIGHTED_CHARACTERS else "text"
        self._console.print(Padding(Syntax(code, lexer, theme="ansi_dark", background_color="default"), (0, 0, 0, 4)))

    def _show_end(self, trajectory: pb.Trajectory) -> None:
        status = pb.Status.Name(trajectory.status).removeprefix("STATUS_").lower().replace("_", " ")
        tokens = f"{trajectory.model_tokens} + {trajectory.tool_tokens} tokens"
        snippets = len(trajectory.snippets)
        counts = f"{snippets} snippet{'s' * (snippets != 1)}, {tokens}, {trajectory.seconds:.1f} s"
        self._show_line("", "")
        if trajectory.answer:
            end = text(f"┃ {trajectory.answer} ┃", "bold green")
        else:
            end = line(f"no answer: {status}", "bold red")
        self._console.print(Text.assemble(end, "  ", (counts, "dim")))
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            self._show_line("\n".join(trajectory.notes), "red")


def show_trajectory(console: TextConsole, trajectory: pb.Trajectory) -> None:
    """Print a finished trajectory."""
    trace = LiveTrace(console, trajectory.dialect)
    snippets = iter(trajectory.snippets)
    for part in parse_transcript(trajectory.text, known_dialect(trajectory.dialect)):
        if part.kind == "prose":
            trace.show(pb.SolveResponse(text=pb.TextDelta(text=part.text)))
        elif part.kind == "output":
            trace.show(pb.SolveResponse(result=pb.ToolResult(text=part.text)))
        elif snippet := next(snippets, None):
            trace.show(pb.SolveResponse(snippet=pb.SnippetStarted(code=snippet.code)))
    trace.show(pb.SolveResponse(trajectory=trajectory))
