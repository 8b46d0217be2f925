"""Table of solved questions, with totals."""

from rich.table import Table

from deepmath.cli.solve_result import SolveResult
from deepmath.cli.text_console import TextConsole, line
from deepmath.printable_text import printable_line

_HEADINGS = ("snippets", "answer", "correct", "tokens", "seconds")
_MIN_QUESTION_WIDTH = 16
_MAX_ANSWER_WIDTH = 24
_MAX_TEXT_CHARACTERS = 200  # of a question or an answer


def show_table(console: TextConsole, results: list[SolveResult]) -> None:
    """Print a row per question (question, snippets, answer, verdict, tokens, seconds), and the totals."""
    rows = [_cells(result) for result in results]
    widths = [max(len(heading), *(len(row[at]) for row in rows)) for at, heading in enumerate(_HEADINGS)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    # On a narrow terminal only the question is shortened.
    room = max(_MIN_QUESTION_WIDTH, console.width - sum(widths) - 2 * len(widths))
    table.add_column("question", no_wrap=True, overflow="ellipsis", max_width=room)
    for heading, width in zip(_HEADINGS, widths, strict=True):
        table.add_column(heading, justify="left" if heading == "answer" else "right", min_width=width)
    for result, row in zip(results, rows, strict=True):
        table.add_row(*map(line, (_one_line(result.question.text), *row)))
    console.print(table)
    console.print(line(_totals(results)))


def _one_line(text: str) -> str:
    return printable_line(" ".join(text[:_MAX_TEXT_CHARACTERS].split()))


def _cells(result: SolveResult) -> tuple[str, ...]:
    """Return the cells under `_HEADINGS`."""
    answer = "failed" if result.failed else _one_line(result.answer)[:_MAX_ANSWER_WIDTH] or "none"
    seconds = max((t.seconds for t in result.trajectories), default=0.0)
    return str(result.snippets), answer, _verdict(result), str(result.tokens), f"{seconds:.1f}"


def _verdict(result: SolveResult) -> str:
    if result.correct is None:
        return "?"
    return "yes" if result.correct else f"no ({_one_line(result.question.answer)})"


def _totals(results: list[SolveResult]) -> str:
    verdicts = [result.correct for result in results if result.question.answer and not result.failed]
    graded, unjudged = len(verdicts) - verdicts.count(None), verdicts.count(None)
    failed = sum(result.failed for result in results)
    parts = [
        f"{len(results)} questions",
        f"{verdicts.count(True)} of {graded} correct" if graded else "",
        f"{unjudged} without a verdict" if unjudged else "",
        f"{sum(result.snippets for result in results)} snippets",
        f"{sum(result.tokens for result in results)} tokens",
        f"{failed} failed" if failed else "",
    ]
    return ", ".join(part for part in parts if part)
