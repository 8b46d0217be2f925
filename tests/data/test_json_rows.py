"""Rows of JSON files: cells of any type, slices, encodings; errors that name the line."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepmath.data.dataset_reader import DatasetSplit
from deepmath.errors import InvalidRequest

ROWS = [{"problem": f"{number}?", "answer": number} for number in range(10)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def read(file: Path, split: str = "train") -> list[Any]:
    return [row["answer"] for row in DatasetSplit(str(file), None, split).rows(["answer"])]


def write(folder: Path, content: str | bytes, name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    "content", [LINES, json.dumps(ROWS, indent=2), "\ufeff" + LINES, LINES.replace("\n", "\r\n\r\n")]
)
@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_lines_and_arrays_are_read_with_any_line_end(tmp_path: Path, content: str, name: str) -> None:
    assert read(write(tmp_path, content, name)) == list(range(10))


def test_cells_of_different_types_are_read_as_they_are(tmp_path: Path) -> None:
    cells = ["70", ["70"], 70, 0.5, None, True, ["1", 2], {"a": 1}]
    assert read(write(tmp_path, "".join(json.dumps({"answer": cell}) + "\n" for cell in cells))) == cells


def test_columns_are_those_of_all_rows_and_a_missing_cell_is_none(tmp_path: Path) -> None:
    file = write(tmp_path, '{"a": 1}\n{"answer": 2}\n')
    assert DatasetSplit(str(file), None, "train").columns == ["a", "answer"]
    assert read(file) == [None, 2]


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("test", range(10)),
        ("train[:3]", range(3)),
        ("test[2:4]", range(2, 4)),
        ("train[:20%]", range(2)),
        ("train[-2:]", range(8, 10)),
        ("train[:1]+train[8:]", [0, 8, 9]),
    ],
)
def test_slice_is_a_part_of_the_rows(tmp_path: Path, split: str, rows: Any) -> None:
    assert read(write(tmp_path, LINES), split) == list(rows)


def test_row_names_its_place(tmp_path: Path) -> None:
    file = write(tmp_path, '\n{"answer": 1}\n\n{"answer": 2}\n')
    assert [row.where for row in DatasetSplit(str(file), None, "train").rows([])] == [
        f"{file}, line 2",
        f"{file}, line 4",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (rb'{"answer": "\sqrt{2}"}', r'line 1 is not valid JSON: .*a backslash is written twice in JSON: "\\\\sqrt'),
        (b'{"answer": 1}\n{"answer": "\xe9"}', "line 2 is not UTF-8"),
        ('{"answer": 1}'.encode("utf-16-le"), "line 1 is not valid JSON"),
        (b"[1]", "entry 1 is not an object"),
        (b'{"answer": 1}\n"1"', "line 2 is not an object"),
        (b'{"answer": ' + b"[" * 100_000, "line 1 is not valid JSON: it is nested too deeply"),
        (b'{"answer": ' + b"1" * 5000 + b"}", "line 1 is not valid JSON: .*digits"),
        (b"\n \n", "is empty"),
        (b"", "is empty"),
    ],
)
def test_unreadable_file_is_rejected_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read(write(tmp_path, content))


def test_unknown_slice_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot read the split"):
        read(write(tmp_path, LINES), "train[x]")
