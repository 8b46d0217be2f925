"""`deepmath grade`."""

import json
from typing import Any

import pytest

# gold, answer, verdict, a part of the reason
PAIRS: list[tuple[Any, Any, bool | None, str]] = [
    ("1/2", "0.5", True, "the same value"),
    ("1/2", "1/3", False, "different"),
    (["70"], r"The answer is \boxed {70}.", True, "the same value"),
    (["3", "5"], "5, 3", True, "the same value"),
    (["3", "5"], "3", False, "different"),
    (70, "70.0", True, "the same value"),
    (0.5, r"\frac12", True, "the same value"),
    (True, r"\text{True}", True, "the same text"),
    (None, "1", None, "there is no gold answer"),
    ([], "1", None, "there is no gold answer"),
    ("???", "1", None, "not mathematics"),
    ("42", "", False, "empty"),
    ("42", None, False, "empty"),
    ("42", "9" * 2000, False, "too long"),
    ("x+1", "1+x", True, "the same value"),
    ("x+1", "x+2", False, "different"),
    (r"\sqrt{2}", r"\int_{0}^{1}\frac{\sin(x^{5})}{e^{x^{7}}+\cos(x^{3})}dx", False, "the answer takes too"),
]


async def test_file_is_graded_line_by_line_in_order(deepmath) -> None:
    lines = "\n".join(json.dumps({"gold": gold, "answer": answer}) for gold, answer, *_ in PAIRS)
    ended = await deepmath("grade", "--json", "--verify-seconds", "1", "--file", "-", stdin=lines)
    assert (ended.status, ended.err) == (0, "")
    graded = [json.loads(line) for line in ended.out.splitlines()]
    assert [(one["gold"], one["answer"], one["verdict"]) for one in graded] == [pair[:3] for pair in PAIRS]
    for one, (*_, reason) in zip(graded, PAIRS, strict=True):
        assert reason in one["reason"]
        assert list(one) == ["gold", "answer", "verdict", "reason", "seconds"]
        assert one["seconds"] >= 0


async def test_bad_line_is_reported_in_its_place_and_the_others_are_graded(deepmath, tmp_path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(
        '{"gold": "1", "answer": "1"}\n{"gold": "\\frac12", "answer": "1"}\n{broken\n{"gold": 2, "answer": 3}'
    )
    ended = await deepmath("grade", "--json", "--file", str(file))
    assert ended.status == 1
    graded = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["verdict"] for one in graded] == [True, None, None, False]
    assert [one["reason"] for one in graded[1:3]] == ["not a pair"] * 2
    for number in (2, 3):
        assert f"line {number}" in ended.err
        assert f"line {number}" in graded[number - 1]["error"]
    assert r'write two: "\\frac"' in ended.err
    shown = await deepmath("grade", "--file", str(file))
    assert shown.status == 1
    assert shown.out.splitlines()[-1] == "4 lines, 2 not a pair, 1 correct, 1 incorrect"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["1/2", "0.5"], ["correct: the same value", "gold:   1/2", "answer: 0.5"]),
        (["-5", r"\boxed{-6}"], ["incorrect: different values", "gold:   -5", "answer: -6"]),
        (["", "5"], ["no verdict: there is no gold answer", "gold:   ", "answer: 5"]),
        (["5", "\x1b]52;c;aGk=\x07"], ["incorrect: ", "gold:   5", r"answer: \x1b]52;c;aGk=\x07"]),
    ],
)
async def test_verdict_on_one_pair_is_shown_with_its_reason(deepmath, arguments: list[str], shown: list[str]) -> None:
    ended = await deepmath("grade", *arguments)
    assert ended.status == 0
    assert all(line.startswith(start) for line, start in zip(ended.out.splitlines(), shown, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give GOLD and ANSWER, or --file FILE"),
        (["1"], "give GOLD and ANSWER, or --file FILE"),
        (["1", "1", "--file", "x"], "give GOLD and ANSWER, or --file FILE"),
        (["1", "1", "1"], "unexpected extra argument"),
        (["1", "--jsn"], "there is no option --jsn"),
        (["--file", "no-such-file.jsonl"], "cannot read no-such-file.jsonl"),
        (["1", "1", "--verify-workers", "0"], "verify-workers"),
        (["1", "1", "--require", "none"], "require"),
    ],
)
async def test_incorrect_usage_has_exit_status_2(deepmath, arguments: list[str], message: str) -> None:
    ended = await deepmath("grade", *arguments)
    assert ended.status == 2
    assert message in ended.err
