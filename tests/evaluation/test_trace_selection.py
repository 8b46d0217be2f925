"""Selection and division of traces."""

from pathlib import Path

from support.evaluation_runs import FAILED, OK, of_answers, sample, write

from deepmath.evaluation.sample_sets import load_sample_sets
from deepmath.evaluation.trace_selection import TracePart, select_traces, trace_parts

CALL = "<tool_call>\n6 * 7\n</tool_call>\n```output\n42\n```\n"


def test_trace_is_divided_into_prose_code_and_output() -> None:
    found = trace_parts(sample(text=f"I compute.\n{CALL}So \\boxed{{42}}.", snippets=[OK]))
    assert found == [
        TracePart("prose", "I compute.\n"),
        TracePart("code", "6 * 7"),
        TracePart("output", "42"),
        TracePart("prose", "So \\boxed{42}."),
    ]


def test_failed_code_has_its_outcome() -> None:
    assert trace_parts(sample(text=CALL, snippets=[FAILED]))[0] == TracePart("code", "1 / 0", "exception")


def test_truncated_call_is_code_without_output() -> None:
    assert trace_parts(sample(text="So\n<tool_call>\n6 *")) == [TracePart("prose", "So\n"), TracePart("code", "6 *")]


def test_middle_of_a_long_part_is_omitted_with_a_note() -> None:
    (part,) = trace_parts(sample(text="a" + "x" * 100_000 + "z"))
    assert len(part.text) < 21_000
    assert (part.text[0], part.text[-1]) == ("a", "z")
    assert "[80002 characters omitted]" in part.text


def test_verdicts_alternate_and_the_first_sample_of_each_problem_comes_first(tmp_path: Path) -> None:
    samples = [*of_answers("42", "42", "42"), *of_answers("42", "", "7", problem_id="p2")]
    sample_sets = load_sample_sets([write(tmp_path / "run", *samples)])
    (found,) = select_traces(sample_sets, 4)
    assert [(one.verdict, one.sample.problem_id, one.sample.sample) for one in found] == [
        ("correct", "p1", 0),
        ("no answer", "p2", 1),
        ("incorrect", "p2", 2),
        ("correct", "p2", 0),
    ]
    assert found[0].sample.text
    assert select_traces(sample_sets, 0) == [[]]


def test_long_traces_reduce_the_number_to_no_less_than_one(tmp_path: Path) -> None:
    samples = of_answers(*["42"] * 30, text=f"{'x' * 19_000}{CALL}" * 3)
    (found,) = select_traces(load_sample_sets([write(tmp_path / "run", *samples)]), 30)
    assert 1 <= len(found) <= 5


def test_traces_of_the_same_key_come_from_their_own_folders(tmp_path: Path) -> None:
    folders = [write(tmp_path / side, sample(text=side)) for side in "ab"]
    assert [own[0].parts[0].text for own in select_traces(load_sample_sets(folders), 1)] == ["a", "b"]
