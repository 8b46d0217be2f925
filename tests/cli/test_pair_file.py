"""Pairs from JSON lines: in order, none lost, as soon as they arrive."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmath.cli import pair_file
from deepmath.cli.pair_file import MAX_LINE_BYTES, GradingPair, read_pairs
from deepmath.errors import InvalidRequest


def pairs(folder: Path, content: bytes) -> list[GradingPair]:
    file = folder / "pairs.jsonl"
    file.write_bytes(content)
    return [pair for batch in read_pairs(str(file)) for pair in batch]


def line(gold: Any, answer: Any) -> bytes:
    return json.dumps({"gold": gold, "answer": answer}).encode() + b"\n"


@pytest.mark.parametrize(
    ("gold", "answer", "graded"),
    [
        ("1/2", "0.5", ("1/2", "0.5")),
        (["70"], 70, ("70", "70")),
        (["3", 5], "5, 3", ("3, 5", "5, 3")),
        (70.0, 70.5, ("70", "70.5")),
        (True, "True", ("True", "True")),
        (None, None, ("", "")),
        ("42", r"It is \boxed{41}, no, \boxed {42}.", ("42", "42")),
        ("42", r"no box: 42", ("42", "no box: 42")),
        ("42", r"\boxed{", ("42", r"\boxed{")),
        (r"\boxed{42}", "42", (r"\boxed{42}", "42")),
    ],
)
def test_values_are_read_as_answers_and_kept_as_given(
    tmp_path: Path, gold: Any, answer: Any, graded: tuple[str, str]
) -> None:
    (pair,) = pairs(tmp_path, line(gold, answer))
    assert (pair.gold, pair.answer) == graded
    assert (pair.given_gold, pair.given_answer, pair.error) == (gold, answer, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{broken", "line 2 is not valid JSON"),
        (b"[1, 2]", "line 2 is not an object with `gold` and `answer`"),
        (b'{"gold": "1"}', "line 2 is not an object with `gold` and `answer`"),
        (b'{"answer": "1"}', "line 2 is not an object with `gold` and `answer`"),
        (line([["1"]], "1"), "line 2: the answer or gold answer ['1'] is not a text"),
        (line("1", {"a": 1}), "line 2: the answer or gold answer {'a': 1} is not a text"),
        (rb'{"gold": "\frac{1}{2}", "answer": "1"}', r"line 2: `gold` has \frac with one backslash"),
        (rb'{"gold": ["\frac{1}{2}"], "answer": "1"}', r"line 2: `gold` has \frac with one backslash"),
        (rb'{"gold": "\sqrt{2}", "answer": "1"}', "a backslash is written twice in JSON"),
        (b'{"gold": "\xff", "answer": "1"}', "line 2 is not UTF-8"),
        (line("1", "x" * MAX_LINE_BYTES), "line 2 is longer than 1 MiB"),
        (b'{"gold": "1", "answer": ' + b"[" * 50_000, "line 2 is not valid JSON: it is nested too deeply"),
    ],
)
def test_other_line_is_reported_with_its_number_and_the_others_are_read(
    tmp_path: Path, content: bytes, message: str
) -> None:
    first, bad, last = pairs(tmp_path, line("1", "1") + content.rstrip(b"\n") + b"\n\n" + line("2", "2"))
    assert (first.gold, last.gold) == ("1", "2")
    assert message in bad.error


def test_answer_that_json_escapes_have_damaged_is_graded_with_a_warning(tmp_path: Path) -> None:
    content = rb'{"gold": "1", "answer": "\boxed{1}"}' + b"\n" + line("1", "It is one:\nu = 1.")
    damaged, other = pairs(tmp_path, content)
    assert (damaged.answer, damaged.error) == ("\boxed{1}", "")
    assert r"line 1: `answer` has \boxed with one backslash" in damaged.warning
    assert other.warning == ""


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())


@settings(deadline=None)
@given(st.lists(st.tuples(values, values)), st.sampled_from([b"\n", b"\r\n", b"\n \n"]), st.integers(1, 40))
def test_every_line_gives_one_pair_in_order(drawn: list[tuple[Any, Any]], end: bytes, size: int) -> None:
    content = b"".join(line(*pair).rstrip(b"\n") + end for pair in drawn)
    reader, writer = os.pipe()
    feeder = threading.Thread(target=feed, args=(writer, content, size))
    feeder.start()
    try:
        found = [pair for batch in read_pairs(f"/dev/fd/{reader}") for pair in batch]
    finally:
        os.close(reader)
        feeder.join()
    assert [(pair.given_gold, pair.given_answer) for pair in found if not pair.error] == [
        given for given, pair in zip(drawn, found, strict=True) if not pair.error
    ]


def feed(writer: int, content: bytes, size: int) -> None:
    """Write `content` to a pipe in pieces, so that reads end anywhere in a line."""
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        for start in range(0, len(content), size):
            pipe.write(content[start : start + size])


def test_lines_of_a_pipe_are_read_without_waiting_for_more() -> None:
    reader, writer = os.pipe()
    batches = read_pairs(f"/dev/fd/{reader}")
    os.write(writer, line("1", "1"))
    assert len(next(batches)) == 1  # the pipe is still open
    os.write(writer, line("2", "2") * 3)
    assert len(next(batches)) == 3
    os.close(writer)
    assert list(batches) == []
    os.close(reader)


def test_batches_are_bounded(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(line("1", "1") * 1000)
    sizes = [len(batch) for batch in read_pairs(str(file))]
    assert sum(sizes) == 1000
    assert max(sizes) <= pair_file._BATCH


@pytest.mark.parametrize("name", ["gone.jsonl", "."])
def test_unreadable_file_is_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot read"):
        list(read_pairs(str(tmp_path / name)))
