"""Tables of text cells, rendered as Markdown or CSV."""

import csv
import io
from dataclasses import dataclass

from deepmath.evaluation.estimators import Estimate
from deepmath.printable_text import markdown_text, printable_line


@dataclass(frozen=True)
class TableRow:
    """A row of cells."""

    cells: tuple[str, ...]
    published: bool = False
    """Whether the figures are others' published results, not measured here."""


@dataclass(frozen=True)
class TextTable:
    """Rows under headings. The first `name_columns` columns identify a row; all others hold numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[TableRow, ...]
    name_columns: int = 1
    folded: bool = False
    """Whether a page shows the title only until the reader opens it. A terminal leaves it out."""

    def markdown(self) -> str:
        """Return the table as GitHub Markdown, with published results in italics."""
        rule = ["--"] * self.name_columns + ["--:"] * (len(self.headings) - self.name_columns)
        lines = [map(markdown_text, self.headings), rule]
        lines += [
            [f"*{cell}*" if row.published and cell else cell for cell in map(markdown_text, row.cells)]
            for row in self.rows
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def csv(self) -> str:
        """Return the table as CSV with a header line."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(printable_line, self.headings))
        writer.writerows(map(printable_line, row.cells) for row in self.rows)
        return text.getvalue()


def percent(share: float | None) -> str:
    """Return a share, 0 to 1, in per cent with one decimal; empty for None."""
    return "" if share is None else f"{100 * share:.1f}"


def percent_with_interval(share: Estimate) -> str:
    """Return a share, 0 to 1, in per cent with its interval."""
    return f"{percent(share.value)} [{percent(share.low)}, {percent(share.high)}]"
