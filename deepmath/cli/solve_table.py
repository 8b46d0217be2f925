"""Many solved questions as one table with totals."""

from typing import TYPE_CHECKING

from deepmath.grading.answer_normalization import same_canonical_form

if TYPE_CHECKING:
    from rich.console import Console

    from deepmath.cli.solve_result import SolveResult


def show_table(console: "Console", solved: "list[SolveResult]") -> None:
    """Show question, snippets, answer, verdict, tokens and seconds of each, and the totals."""
    from rich.table import Table
    from rich.text import Text

    headings = ("snippets", "answer", "right", "tokens", "seconds")
    rows = [_cells(one) for one in solved]
    widths = [max(len(heading), *(len(row[at]) for row in rows)) for at, heading in enumerate(headings)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    # Only the question gives way on a narrow terminal.
    room = max(16, console.width - sum(widths) - 2 * len(widths))
    table.add_column("question", no_wrap=True, overflow="ellipsis", max_width=room)
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(heading, justify="left" if heading == "answer" else "right", min_width=width)
    for one, row in zip(solved, rows, strict=True):
        table.add_row(*map(Text, (_one_line(one.question.text), *row)))
    console.print(table)
    console.print(_totals(solved), highlight=False)


def _one_line(text: str) -> str:
    return " ".join(text[:200].split())


def _cells(one: "SolveResult") -> tuple[str, ...]:
    """Return what stands under the headings after the question."""
    answer = "failed" if one.failed else _one_line(one.answer)[:24] or "none"
    seconds = max((t.seconds for t in one.trajectories), default=0.0)
    return str(_snippets(one)), answer, _verdict(one), str(_tokens(one)), f"{seconds:.1f}"


def _verdict(one: "SolveResult") -> str:
    if one.failed or not one.question.answer:
        return "?"
    return "yes" if same_canonical_form(one.answer, one.question.answer) else f"no ({one.question.answer})"


def _totals(solved: "list[SolveResult]") -> str:
    graded = [one for one in solved if one.question.answer and not one.failed]
    right = sum(same_canonical_form(one.answer, one.question.answer) for one in graded)
    failed = sum(one.failed for one in solved)
    parts = [
        f"{len(solved)} questions",
        f"{right} of {len(graded)} right" if graded else "",
        f"{sum(map(_snippets, solved))} snippets",
        f"{sum(map(_tokens, solved))} tokens",
        f"{failed} failed" if failed else "",
    ]
    return ", ".join(part for part in parts if part)


def _snippets(one: "SolveResult") -> int:
    return sum(len(t.snippets) for t in one.trajectories)


def _tokens(one: "SolveResult") -> int:
    return sum(t.model_tokens + t.tool_tokens for t in one.trajectories)
