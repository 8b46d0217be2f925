"""`deepmath contamination` names repeated problems and writes the others."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepmath.cli.main import app
from deepmath.errors import InvalidRequest

TEST = "Ann buys 3 boxes of 12 eggs and gives 5 eggs to her brother. How many eggs does she keep at home?"
TRAIN = [
    "What is $1 + 2$?",
    f"Read this. {TEST.upper()}",
    TEST.replace("12", "10"),
    r"what is \(1+2\)",
    TEST,
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("".join(json.dumps({"question": text, "answer": "x #### 1"}) + "\n" for text in TRAIN))
    test.write_text(json.dumps({"id": "t1", "problem": TEST, "answer": 31}) + "\n")
    return str(train), f"aime2024={test}"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["contamination", *arguments])


def test_repeated_problems_are_named(files: tuple[str, str]) -> None:
    ended = run(files[0], "--against", files[1])
    assert ended.exit_code == 0
    assert "problem 2 (" in ended.output
    assert "repeats 100% of t1 of aime2024=" in ended.output
    assert "repeats problem 1" in ended.output
    assert ended.output.endswith("5 problems: 1 repeat an earlier one, 2 repeat one of 1 test problems\n")


def test_json_lines_and_the_other_problems(files: tuple[str, str], tmp_path: Path) -> None:
    clean = tmp_path / "clean.jsonl"
    ended = run(files[0], "--against", files[1], "--json", "--output", str(clean))
    found = [json.loads(line) for line in ended.output.splitlines()]
    assert [(one["number"], one["kind"], one.get("of"), one.get("test_id")) for one in found] == [
        (2, "contaminated", None, "t1"),
        (4, "duplicate", 1, None),
        (5, "contaminated", None, "t1"),
    ]
    kept = [json.loads(line) for line in clean.read_text().splitlines()]
    assert [one["problem"] for one in kept] == [TRAIN[0], TRAIN[2]]
    assert run(str(clean), "--against", files[1]).output.endswith(
        "2 problems: 0 repeat an earlier one, 0 repeat one of 1 test problems\n"
    )
    assert isinstance(run(files[0], "--output", str(clean)).exception, InvalidRequest)


def test_generated_problems_do_not_repeat_their_test_problems(files: tuple[str, str]) -> None:
    assert run("synthetic").output.endswith("200 problems: 0 repeat an earlier one, 0 repeat one of 0 test problems\n")


def test_terminal_gets_no_control_characters(tmp_path: Path) -> None:
    file = tmp_path / "\x1b[2Jx.jsonl"
    file.write_text(
        "".join(json.dumps({"id": "\x1b]0;a", "problem": "\x1b[31m2+2? \u202e", "answer": 4}) + "\n" for _ in "ab")
    )
    for options in ([], ["--json"]):
        ended = run(str(file), "--against", str(file), *options)
        assert "repeat" in ended.output or "duplicate" in ended.output
        assert "\x1b" not in ended.output


@pytest.mark.parametrize("name", ["gsm8", "missing.jsonl"])
def test_unknown_sets_are_rejected(name: str, files: tuple[str, str]) -> None:
    assert isinstance(run(name).exception, InvalidRequest)
    assert isinstance(run(files[0], "--against", name).exception, InvalidRequest)
