"""Dialects by name: known ones, those of other packages, and names that nobody offers."""

import sys
from pathlib import Path

import pytest
from support.played_engine import END_OF_TURN, OUTPUT, AnyTokenizer, PlayedEngine, play

from deepmath.dialects import DIALECTS, find_dialect, known_dialect
from deepmath.errors import InvalidRequest

MODULE = """
from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.tool_call_dialect import ToolCallDialect

class CodeTagDialect(ToolCallDialect):
    name = "code-tag"
    start, end = "<code>", "</code>"
    marks = CallMarks.tags(start, end)

class Misnamed(CodeTagDialect):
    name = "other-name"

def incomplete():
    from deepmath.dialects import Dialect

    class Incomplete(Dialect):
        name = "incomplete"
        write_call = output = output_reader = None

    return Incomplete()

def endless():
    return CallMarks.tags("<code>", "")

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
        "misnamed = their_dialects:Misnamed\n"
        "incomplete = their_dialects:incomplete\n"
        "endless = their_dialects:endless\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_dialects", raising=False)


@pytest.mark.usefixtures("package")
def test_another_package_offers_a_dialect() -> None:
    dialect = find_dialect("code-tag")
    assert dialect.write_call("6 * 7") == "<code>\n6 * 7\n</code>"
    assert known_dialect("code-tag").name == "code-tag"


@pytest.mark.usefixtures("package")
async def test_loop_speaks_a_dialect_of_another_package() -> None:
    tokenizer = AnyTokenizer()
    tokens = [tokenizer.token(piece) for piece in (b"A <co", b"de>\n6 * 7\n</cod", b"e>", b" so \\boxed{42}")]
    run, codes = await play(PlayedEngine(tokenizer, tokens), dialect=find_dialect("code-tag"))
    assert (codes, run.answer, run.dialect) == (["6 * 7"], "42", "code-tag")
    assert run.text == f"A <code>\n6 * 7\n</code>\n```output\n{OUTPUT}\n```\n so \\boxed{{42}}{END_OF_TURN}"


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
        ("misnamed", "set it to 'misnamed'"),
        ("incomplete", "has no `marks`, `start`, `end`, `instructions`"),
        ("endless", "they need 1 to 64 characters"),
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
