"""A table as text, whatever it is shown in."""

import csv
import io
from dataclasses import dataclass

from deepmath.evaluation.estimators import Estimate


@dataclass(frozen=True)
class TableRow:
    """Cells; `theirs` where they are not figures of ours."""

    cells: tuple[str, ...]
    theirs: bool = False


@dataclass(frozen=True)
class TextTable:
    """Rows under headings. The first `names` columns say what a row is, all others are numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[TableRow, ...]
    names: int = 1

    def markdown(self) -> str:
        """Return it for GitHub, what is theirs in italics."""
        rule = ["--"] * self.names + ["--:"] * (len(self.headings) - self.names)
        lines = [map(_plain, self.headings), rule]
        lines += [
            [f"*{cell}*" if row.theirs and cell else cell for cell in map(_plain, row.cells)] for row in self.rows
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def csv(self) -> str:
        """Return it with a line for the headings."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.headings)
        writer.writerows(row.cells for row in self.rows)
        return text.getvalue()


def percent(share: float | None) -> str:
    """Return a share, 0 to 1, in per cent; nothing for None."""
    return "" if share is None else f"{100 * share:.1f}"


def percent_with_interval(share: Estimate) -> str:
    """Return a share, 0 to 1, in per cent, with its interval."""
    return f"{percent(share.value)} [{percent(share.low)}, {percent(share.high)}]"


def _plain(cell: str) -> str:
    return " ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
