"""Traces: which ones, and what they are made of."""

from pathlib import Path

from support.evaluation_runs import FAILED, OK, of_answers, sample, write

from deepmath.evaluation.sample_records import load
from deepmath.evaluation.trace_selection import TracePart, parts, traces

CALL = "<tool_call>\n6 * 7\n</tool_call>\n```output\n42\n```\n"


def test_trace_is_thought_code_output_and_thought() -> None:
    found = parts(sample(text=f"I compute.\n{CALL}So \\boxed{{42}}.", snippets=[OK]))
    assert found == [
        TracePart("thought", "I compute.\n"),
        TracePart("code", "6 * 7"),
        TracePart("output", "42"),
        TracePart("thought", "So \\boxed{42}."),
    ]


def test_code_that_failed_says_how() -> None:
    assert parts(sample(text=CALL, snippets=[FAILED]))[0] == TracePart("code", "1 / 0", "exception")


def test_call_that_was_cut_off_is_code_without_output() -> None:
    assert parts(sample(text="So\n<tool_call>\n6 *")) == [TracePart("thought", "So\n"), TracePart("code", "6 *")]


def test_long_part_loses_its_middle_and_says_so() -> None:
    (part,) = parts(sample(text="a" + "x" * 100_000 + "z"))
    assert len(part.text) < 21_000
    assert (part.text[0], part.text[-1]) == ("a", "z")
    assert "[80002 characters are left out here]" in part.text


def test_verdicts_take_turns_and_the_first_sample_of_each_problem_comes_first(tmp_path: Path) -> None:
    samples = [*of_answers("42", "42", "42"), *of_answers("42", "", "7", problem_id="p2")]
    records = load([write(tmp_path / "run", *samples)])
    (found,) = traces(records, 4)
    assert [(one.verdict, one.sample.problem_id, one.sample.sample) for one in found] == [
        ("right", "p1", 0),
        ("no answer", "p2", 1),
        ("wrong", "p2", 2),
        ("right", "p2", 0),
    ]
    assert found[0].sample.text
    assert traces(records, 0) == [[]]


def test_long_traces_are_fewer_but_there_is_one(tmp_path: Path) -> None:
    samples = of_answers(*["42"] * 30, text=f"{'x' * 19_000}{CALL}" * 3)
    (found,) = traces(load([write(tmp_path / "run", *samples)]), 30)
    assert 1 <= len(found) <= 5


def test_samples_of_one_name_come_from_their_own_folders(tmp_path: Path) -> None:
    folders = [write(tmp_path / side, sample(text=side)) for side in "ab"]
    assert [own[0].parts[0].text for own in traces(load(folders), 1)] == ["a", "b"]
