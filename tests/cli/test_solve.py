"""`deepmath solve`."""

import json

import pytest

from deepmath.data.synthetic import generate

QUESTION = next(generate(1, "test", 0)).problem
TRAJECTORY = {"answer", "status", "text", "snippets", "model_tokens", "tool_tokens", "seconds"}


async def test_answer_is_shown_in_a_box(deepmath, generator_address) -> None:
    ended = await deepmath("solve", "--generator", generator_address, "--temperature", "0", QUESTION)
    assert ended.status == 0
    assert "┃" in ended.out or "no answer" in ended.out


async def test_json_has_the_contracts_fields(deepmath, generator_address) -> None:
    ended = await deepmath(
        "solve", "--generator", generator_address, "--json", "--samples", "3", "--seed", "1", QUESTION
    )
    solved = json.loads(ended.out)
    assert {"question", "answer", "votes", "trajectories"} <= solved.keys()
    assert len(solved["trajectories"]) == 3
    for trajectory in solved["trajectories"]:
        assert trajectory.keys() >= TRAJECTORY
        assert all(snippet.keys() >= {"code", "outcome", "stdout", "value"} for snippet in trajectory["snippets"])


async def test_samples_end_with_the_majority(deepmath, generator_address) -> None:
    ended = await deepmath("solve", "--generator", generator_address, "--samples", "4", QUESTION)
    assert "majority" in ended.out


async def test_file_ends_with_a_table_of_verdicts(deepmath, generator_address, tmp_path) -> None:
    file = tmp_path / "problems.jsonl"
    problems = list(generate(6, "test", 0))
    file.write_text("".join(json.dumps({"problem": p.problem, "answer": p.answer}) + "\n" for p in problems))
    ended = await deepmath("solve", "--generator", generator_address, "--file", str(file), "--trace")
    assert ended.status == 0
    assert "of 6 correct" in ended.out


async def test_malformed_line_is_reported_and_the_others_are_solved(deepmath, generator_address) -> None:
    lines = [json.dumps({"problem": QUESTION}), "{broken", "[1]", json.dumps({"question": "What is 1 + 1?"}), "{}"]
    lines.append(json.dumps({"problem": ""}))
    ended = await deepmath("solve", "--generator", generator_address, "--json", "--file", "-", stdin="\n".join(lines))
    solved = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.status == 1
    assert len(solved) == len(lines)
    assert sorted(bool(one["trajectories"]) for one in solved) == [False] * 4 + [True] * 2
    for number in (2, 3, 5):
        assert f"line {number}" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "question is empty"),
        ([], "give one QUESTION"),
        ([QUESTION, "--file", "x"], "give one QUESTION"),
        ([QUESTION, "--max-tokens", "-5"], "max-tokens"),
        ([QUESTION, "--samples", "0"], "samples"),
        ([QUESTION, "--mode", "guess"], "mode"),
        ([QUESTION, "--model", "./no-such-model"], "no model at ./no-such-model"),
        ([QUESTION, "--generator", "127.0.0.1:1", "--model", "x"], "leave out --generator"),
        ([QUESTION, "--dialect", "pyton-fence"], "did you mean python-fence?"),
        ([QUESTION, "--dialect", "xyz"], "there are tool-call, python-fence, hermes, python-tag"),
        ([QUESTION, "--generator", "127.0.0.1:1", "--dialect", "hermes"], "leave out --generator"),
        ([QUESTION, "--generator", "nonsense"], "is not a valid address"),
        (["--file", "no-such-file.jsonl"], "cannot read no-such-file.jsonl"),
    ],
)
async def test_incorrect_usage_has_exit_status_2(deepmath, arguments: list[str], message: str) -> None:
    ended = await deepmath("solve", *arguments)
    assert ended.status == 2
    assert message in ended.err


@pytest.mark.parametrize(("question", "message"), [("1" * 100_000, "bytes"), ("12 " * 5000, "tokens")])
async def test_too_long_question_has_exit_status_2(deepmath, generator_address, question: str, message: str) -> None:
    ended = await deepmath("solve", "--generator", generator_address, question)
    assert ended.status == 2
    assert message in ended.err


async def test_unreachable_generator_has_exit_status_1(deepmath) -> None:
    ended = await deepmath("solve", "--generator", "127.0.0.1:1", QUESTION)
    assert ended.status == 1
    assert "127.0.0.1:1 cannot be reached" in ended.err


async def test_unreachable_executor_has_exit_status_1_before_a_model_is_loaded(deepmath) -> None:
    ended = await deepmath("solve", "--executor", "127.0.0.1:1", QUESTION)
    assert ended.status == 1
    assert "executor at 127.0.0.1:1 cannot be reached" in ended.err
    assert "starting" not in ended.err


@pytest.mark.slow
async def test_unknown_hub_model_has_exit_status_1(deepmath) -> None:
    ended = await deepmath("solve", "--model", "no-such-owner/no-such-model", QUESTION)
    assert ended.status == 1
    assert "no-such-owner/no-such-model" in ended.err
