"""Canaries: datasets still reports empty splits in the way that the patches recognize."""

from pathlib import Path

import pytest

from deepmath.data.datasets_patches.empty_split import is_empty_split_error


def test_split_without_rows_is_reported_by_a_recognized_message(tmp_path: Path) -> None:
    import datasets

    file = tmp_path / "header.csv"
    file.write_text("problem,answer\n")
    with pytest.raises(ValueError, match="no data") as raised:
        datasets.load_dataset("csv", data_files={"train": str(file)}, split="train", cache_dir=str(tmp_path / "cache"))
    assert is_empty_split_error(raised.value)


def test_unknown_split_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    import datasets

    file = tmp_path / "train.csv"
    file.write_text("problem,answer\n1+1?,2\n")
    with pytest.raises(ValueError, match="Unknown split") as raised:
        datasets.load_dataset("csv", data_files={"train": str(file)}, split="test", cache_dir=str(tmp_path / "cache"))
    assert not is_empty_split_error(raised.value)
