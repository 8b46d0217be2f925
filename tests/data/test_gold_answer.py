"""Gold answers from cells of any type."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.data.gold_answer import gold_text
from deepmath.errors import InvalidRequest


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" 70 ", "70"),
        (["70"], "70"),
        (("70",), "70"),
        (["3", "5"], "3, 5"),
        (["3", 5, 0.5], "3, 5, 0.5"),
        (["1/2", "0.5", r"\frac12"], "1/2"),
        (["10,000", "2"], "10000, 2"),
        (["10,000"], "10,000"),
        (["(1,2)", "(3,4)"], "(1,2), (3,4)"),
        (["3", None, ""], "3"),
        ([], ""),
        ([None], ""),
        (None, ""),
        (float("nan"), ""),
        (70, "70"),
        (70.0, "70"),
        (-0.5, "-0.5"),
        (1e22, "10000000000000000000000"),
        (float("-inf"), r"-\infty"),
        (True, "True"),
        ("\frac12", "\frac12"),
        ('["70"]', "70"),
        ("['70']", "70"),
        ("['3', \"5\"]", "3, 5"),
        (r"['\\frac{1}{2}']", r"\frac{1}{2}"),
        (r'["\frac{1}{2}", "x"]', r"\frac{1}{2}, x"),
        ("[1, 2]", "[1, 2]"),
        ("['x", "['x"),
        ("f'(x)", "f'(x)"),
        ("She sells 16 - 3 = <<16-3=13>>13.\nSo 13 * 2 = 26.\n#### 26", "26"),
        ("#### 26", "#### 26"),
    ],
)
def test_cell_is_read_as_text(cell: object, text: str) -> None:
    assert gold_text(cell) == text


@pytest.mark.parametrize("cell", [[["70"]], {"a": 1}, [{"a": 1}], b"70"])
def test_other_cells_are_rejected(cell: object) -> None:
    with pytest.raises(InvalidRequest, match="write it as one LaTeX text"):
        gold_text(cell)


scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(scalars)
def test_list_of_one_is_its_element(cell: Any) -> None:
    assert gold_text([cell]) == gold_text(cell)


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_every_json_value_is_read_or_rejected(value: Any) -> None:
    cell = json.loads(json.dumps(value))
    try:
        text = gold_text(cell)
    except InvalidRequest:
        assert isinstance(cell, list | dict)
    else:
        assert isinstance(text, str)
