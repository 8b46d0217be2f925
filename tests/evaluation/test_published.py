"""Figures of others, as data."""

import json
from pathlib import Path

import pytest

from deepmath.errors import InvalidRequest
from deepmath.evaluation.published_results import PUBLISHED, Published, read_published

ROW = {"configuration": "DeepMath", "benchmark": "math500", "majority@16": 90, "mean_tokens": None}


def test_rows_and_claims_are_read(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    claims = [{"text": "66 % shorter", "source": "a card"}]
    file.write_text(json.dumps({"source": "a blog", "note": "", "rows": [ROW], "claims": claims}))
    found = read_published(file)
    assert (found.rows[0].majority, found.rows[0].mean_tokens) == (90.0, None)
    assert found.claims == (("66 % shorter", "a card"),)


def test_nothing_was_published_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_published(tmp_path / "none.json") == Published()


def test_file_of_this_repository_can_be_read() -> None:
    read_published(PUBLISHED)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"source": "", "rows": [{}]}', '{"source": "", "rows": 1}'])
def test_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "published.json"
    file.write_text(text)
    with pytest.raises(InvalidRequest, match="no list of published figures"):
        read_published(file)
