"""Hostile text through every command, on a pseudo-terminal and into a pipe: it is only text."""

import asyncio
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.evaluation_runs import sample, write
from support.hostile_generator import serve_hostile_generator
from support.hostile_text import FORGED_LINES, SURROGATE, TEXTS, steers
from support.pseudo_terminal import run_on_terminal, without_colours

ALL = " ".join(TEXTS.values())
ARGUMENT = ALL.replace("\0", "")
MARKS = ("[INST] What? [/INST]", ":smile:", "[red on blue]x[/red on blue]")  # neither swallowed nor replaced


@pytest.fixture
async def hostile() -> AsyncIterator[str]:
    async with serve_hostile_generator(ALL) as address:
        yield address


async def shown(*arguments: str, columns: int = 100, env: dict[str, str] | None = None) -> str:
    """Return what a command shows on a terminal, which is only text and colours."""
    text = without_colours(await run_on_terminal(*arguments, columns=columns, env=env))
    assert not steers(text)
    assert "Traceback" not in text
    return text


def joined(text: str) -> str:
    """Return text without line breaks and padding, which depend on the terminal's width."""
    return "".join(text.split())


async def test_trace_of_one_question(hostile: str) -> None:
    text = joined(await shown("solve", "--generator", hostile, ARGUMENT))
    for mark in (*MARKS, r"\x1b]52;c;", r"\x9b31m", r"\u202eevil"):
        assert text.count(joined(mark)) >= 4  # prose, snippet, output, note and answer


async def test_several_samples_end_with_the_vote(hostile: str) -> None:
    text = joined(await shown("solve", "--generator", hostile, "--samples", "2", ARGUMENT))
    assert "majority" in text
    assert joined(MARKS[0]) in text.rpartition("majority")[2]


@pytest.mark.parametrize("question", ["fail", "infrastructure"])
async def test_details_of_an_error(hostile: str, question: str) -> None:
    text = await shown("solve", "--generator", hostile, question)
    assert all(joined(mark) in joined(text) for mark in MARKS)
    assert question == "infrastructure" or text.count("\n") == 1


@pytest.mark.parametrize("columns", [1, 300])
async def test_file_of_questions_ends_with_its_table(hostile: str, tmp_path: Path, columns: int) -> None:
    file = tmp_path / "questions [red].jsonl"
    questions = [*TEXTS.values(), "fail", "infrastructure"]
    lines = [json.dumps({"problem": text, "answer": text, "id": text}) for text in questions]
    file.write_text("\n".join([*lines, "{broken [/INST]"]))
    text = await shown("solve", "--generator", hostile, "--trace", "--file", str(file), columns=columns)
    assert f"{len(lines) + 1}questions," in joined(text)
    assert columns < 100 or "[INST] What? [/INST]" in text.rpartition("seconds")[2]


@pytest.mark.parametrize("command", [["solve", ARGUMENT], ["solve", "--file", "FILE"]])
async def test_json_on_a_terminal_keeps_every_value(hostile: str, tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"problem": MARKS[0]}))
    arguments = [str(file) if one == "FILE" else one for one in command]
    text = await shown(*arguments, "--json", "--generator", hostile)
    (line,) = [line for line in text.splitlines() if line.startswith("{")]
    solved = json.loads(line)
    assert not steers(line, kept="")
    assert (solved["answer"], solved["trajectories"][0]["snippets"][0]["stdout"]) == (ALL, ALL)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "hostile.py"
    value = f"class R:\n  __repr__ = lambda self: {ALL!r}\nR()"
    file.write_text(f"print({ALL!r})\n{value}\n# %%\nraise ValueError({ALL!r})\n")
    return file


async def test_snippet_writes_text_to_a_terminal(executor_address: str, source: Path) -> None:
    text = without_colours(await run_on_terminal("exec", "--executor", executor_address, str(source)))
    assert not steers(text)
    assert text.count(r"\x1b]52;c;") >= 3  # output, value, traceback
    cells = (await shown("exec", "--json", "--executor", executor_address, str(source))).splitlines()
    assert [json.loads(cell)["stdout"] for cell in cells] == [f"{ALL}\n", ""]


async def test_snippet_writes_data_to_a_pipe_but_its_traceback_is_text(executor_address: str, source: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from deepmath.cli.main import main; main()"),
        *("exec", "--executor", executor_address, str(source)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert out.decode() == f"{ALL}\n{ALL}\n"
    assert errors.startswith(b"Traceback")
    assert errors.endswith(b"[EXCEPTION]\n")
    assert not steers(errors.decode())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    samples = [
        sample(configuration=name, benchmark=ALL, text=name, problem_id=name, status=name) for name in (ALL, MARKS[0])
    ]
    return write(tmp_path / "run", *samples)


async def test_report_prints_text_and_writes_text(run: Path) -> None:
    text = await shown("report", str(run), columns=300)
    assert all(joined(mark) in joined(text) for mark in MARKS)
    files = [file for file in (run / "report").rglob("*.*") if file.suffix != ".png"]
    assert {file.suffix for file in files} == {".md", ".csv", ".html", ".svg"}
    for file in files:
        assert not steers(file.read_text()), file


@pytest.mark.parametrize(
    "arguments",
    [
        ["exec", "NAME"],
        ["report", "NAME"],
        ["solve", "--file", "NAME"],
        ["solve", "--model", "./NAME", "1 + 1?"],
        ["solve", "--mode", "NAME", "1 + 1?"],
        ["eval", "--plan", "--benchmark", "NAME"],
        ["--NAME"],
        ["NAME"],
    ],
)
async def test_names_of_files_and_options(arguments: list[str]) -> None:
    name = "".join([ARGUMENT.replace("/", "_")[:80], FORGED_LINES["newline"], SURROGATE[:-1]])
    text = await shown(*(one.replace("NAME", name) for one in arguments))
    assert text.startswith(("deepmath: ", "Usage:"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
async def test_encoding_that_lacks_a_character_is_no_error(hostile: str, encoding: str, tmp_path: Path) -> None:
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "NO_COLOR": "1"}
    raw = await run_on_terminal("solve", "--json", "--generator", hostile, f"½ π {ARGUMENT}", env=environment)
    assert json.loads(raw.decode(encoding.partition(":")[0]))["question"] == f"½ π {ARGUMENT}"
    raw = await run_on_terminal("solve", "--generator", hostile, "½ π", env=environment)
    assert b"no answer" in raw or b"[INST]" in raw
    assert b"Traceback" not in raw
    assert b"\x1b[3" not in raw  # NO_COLOR


@pytest.mark.parametrize("command", ["problems --count 20000", "--help", "exec --json - --executor {executor}"])
async def test_reader_that_leaves_is_no_error(executor_address: str, command: str) -> None:
    program = shlex.join([sys.executable, "-c", "from deepmath.cli.main import main; main()"])
    cells = "print('x' * 60_000)\n# %%\n" * 20
    process = await asyncio.create_subprocess_shell(
        f"{program} {command.format(executor=executor_address)} | head -c 1",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    out, errors = await process.communicate(cells.encode())
    assert len(out) == 1
    assert errors == b""
