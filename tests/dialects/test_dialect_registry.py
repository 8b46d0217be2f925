"""Dialects by name: known ones, those of other packages, and names that nobody offers."""

import sys
from pathlib import Path

import pytest

from deepmath.dialects import DIALECTS, find_dialect, known_dialect
from deepmath.errors import InvalidRequest

MODULE = """
from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.tool_call_dialect import ToolCallDialect

class CodeTagDialect(ToolCallDialect):
    name = "code-tag"
    start, end = "<code>", "</code>"
    marks = CallMarks.tags(start, end)

def fails():
    raise RuntimeError("no")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers dialects."""
    (tmp_path / "their_dialects.py").write_text(MODULE)
    metadata = tmp_path / "their_dialects-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-dialects\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[deepmath.dialects]\n"
        "code-tag = their_dialects:CodeTagDialect\n"
        "tool-call = their_dialects:CodeTagDialect\n"
        "missing = their_dialects:Nothing\n"
        "failing = their_dialects:fails\n"
        "other = builtins:dict\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_dialects", raising=False)


@pytest.mark.usefixtures("package")
def test_another_package_offers_a_dialect() -> None:
    dialect = find_dialect("code-tag")
    assert dialect.write_call("6 * 7") == "<code>\n6 * 7\n</code>"
    assert known_dialect("code-tag").name == "code-tag"


@pytest.mark.usefixtures("package")
def test_another_package_does_not_replace_a_dialect() -> None:
    assert find_dialect("tool-call") is DIALECTS["tool-call"]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "cannot load the dialect missing"),
        ("failing", "no"),
        ("other", "is not a subclass"),
        ("code-tg", "code-tag"),
    ],
)
def test_dialect_that_cannot_be_made_is_rejected_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        find_dialect(name)


@pytest.mark.parametrize("name", ["", "no-such", "x" * 5_000_000, "tool-call\n", "\x1b[2J"])
def test_unknown_name_is_read_as_tool_call_and_its_message_is_short(name: str) -> None:
    assert known_dialect(name) is DIALECTS["tool-call"]
    with pytest.raises(InvalidRequest, match="there is no dialect") as caught:
        find_dialect(name)
    assert len(str(caught.value)) < 300
