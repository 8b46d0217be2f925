"""Published results as data."""

import json
from pathlib import Path

import pytest

from deepmath.errors import InvalidRequest
from deepmath.evaluation.published_results import PUBLISHED_FILE, PublishedResults, read_published

ROW = {"configuration": "DeepMath", "benchmark": "math500", "majority@16": 90, "mean_tokens": None}


def test_rows_and_claims_are_read(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    claims = [{"text": "66 % shorter", "source": "a card"}]
    file.write_text(json.dumps({"source": "a blog", "note": "", "rows": [ROW], "claims": claims}))
    found = read_published(file)
    assert (found.rows[0].majority, found.rows[0].mean_tokens) == (90.0, None)
    assert found.claims == (("66 % shorter", "a card"),)


def test_missing_file_holds_no_results(tmp_path: Path) -> None:
    assert read_published(tmp_path / "none.json") == PublishedResults()


def test_packaged_file_is_valid() -> None:
    assert len(read_published(PUBLISHED_FILE).rows) == 16


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"source": "", "rows": [{}]}', '{"source": "", "rows": 1}'])
def test_malformed_file_is_rejected(tmp_path: Path, text: str) -> None:
    file = tmp_path / "published.json"
    file.write_text(text)
    with pytest.raises(InvalidRequest, match="is not a valid file of published results"):
        read_published(file)
