"""Tables as text."""

import pytest

from deepmath.evaluation.text_table import TableRow, TextTable, percent


def test_markdown_escapes_names() -> None:
    table = TextTable(
        "",
        ("name", "number"),
        (
            TableRow(
                ("a|b\n<c>*d*", "1"),
            ),
        ),
    )
    assert table.markdown() == "| name | number |\n| -- | --: |\n| a\\|b &lt;c>\\*d\\* | 1 |\n"


@pytest.mark.parametrize(("share", "text"), [(0.64449, "64.4"), (1, "100.0"), (0, "0.0"), (None, "")])
def test_percentages_have_one_decimal(share: float | None, text: str) -> None:
    assert percent(share) == text
