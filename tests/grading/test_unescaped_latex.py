r"""Recognition of `"\frac"`, which JSON reads as a form feed and `rac`."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.grading.unescaped_latex import find_unescaped
from deepmath.grading.verdict import Reason
from deepmath.grading.verifier import Verifier

DATA = Path(__file__).parents[2] / "../shared/data"
COMMANDS = (
    r"\frac \forall \flat \fbox \bar \begin \beta \bf \big \binom \boxed \bullet \nabla \ne \neq \neg \ni \nleq \not "
    r"\notin \nu \rangle \rho \right \rightarrow \rm \root \tan \tanh \tau \text \textbf \tfrac \theta \times \to \top "
    r"\triangle"
).split()
AMBIGUOUS_IN_PROSE = {r"\ne", r"\ni", r"\nu", r"\rm", r"\tan", r"\to"}

after = st.sampled_from(["", "{1}{2}", " x", "1", "_2", r"\pi"])


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.sampled_from(COMMANDS), after)
def test_command_with_one_backslash_in_json_is_found(before: str, command: str, after: str) -> None:
    quoted = json.dumps(before)[:-1]
    damaged = json.loads(f'{quoted}{command}"') + after
    assert find_unescaped(damaged) == command
    assert find_unescaped(damaged, prose=True) == (None if command in AMBIGUOUS_IN_PROSE else command)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.sampled_from(COMMANDS), after)
def test_command_with_two_backslashes_is_not(before: str, command: str, after: str) -> None:
    assert find_unescaped(json.loads(json.dumps(before + command + after))) is None


@pytest.mark.parametrize("text", ["Find\nan integer.", "Let\nm\tand\nn", "a\tb\n", "\r\nIf so", "1\n2", "\f", "x\n\ny"])
def test_prose_in_lines_is_not(text: str) -> None:
    assert find_unescaped(text, prose=True) is None


@pytest.mark.parametrize(
    ("name", "columns"),
    [("math500", ("problem", "answer")), ("aime25", ("problem", "answer")), ("gsm8k_test", ("question", "answer"))],
)
def test_public_problems_are_not(name: str, columns: tuple[str, ...]) -> None:
    if not (file := DATA / f"{name}.jsonl").exists():
        pytest.skip(f"no {file}")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row[column] for row in rows for column in columns if find_unescaped(row[column], prose=True)] == []
    if name != "gsm8k_test":
        assert [row["answer"] for row in rows if find_unescaped(row["answer"])] == []


@pytest.mark.parametrize("gold", ["\frac{1}{2}", "x \neq 2", "\text{m}", "2 \times x", "\boxed{5}"])
def test_damaged_gold_answer_gets_no_verdict(patient: Verifier, gold: str) -> None:
    assert [one.reason for one in (*patient.verify([(gold, "5"), (gold, gold)]), patient.check_gold(gold))] == [
        Reason.GOLD_DAMAGED
    ] * 3
