"""`deepmath eval`."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from deepmath.evaluation.evaluation_files import read_samples

SMALL = ("--limit", "6", "--samples", "2", "--max-tokens", "160")


async def test_plan_is_printed_and_nothing_is_drawn(deepmath, tmp_path) -> None:
    ended = await deepmath("eval", "--plan", "--limit", "20", "--output", str(tmp_path / "run"))
    assert ended.status == 0
    assert "+Agent" in ended.out
    assert " 320" in ended.out  # 20 problems, 16 samples
    assert "temperature 0.6, top_p 0.95, top_k 20" in ended.out
    assert not (tmp_path / "run").exists()


async def test_samples_are_written_and_the_table_is_shown(deepmath, generator_address, tmp_path) -> None:
    run = tmp_path / "run"
    ended = await deepmath("eval", "--generator", generator_address, *SMALL, "--output", str(run))
    assert ended.status == 0
    assert len(list(read_samples(run))) == 12
    assert "+Agent" in ended.out
    assert f"deepmath report {run}" in ended.out
    before = (run / "samples.jsonl").read_bytes()
    again = await deepmath("eval", "--generator", generator_address, *SMALL, "--output", str(run))
    assert again.status == 0
    assert (run / "samples.jsonl").read_bytes() == before


async def test_killed_evaluation_resumes_without_lost_or_duplicate_samples(
    generator_address, deepmath, tmp_path
) -> None:
    run = tmp_path / "run"
    command = ["eval", "--generator", generator_address, "--limit", "40", "--samples", "4", "--output", str(run)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from deepmath.cli.main import main; main()", *command),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    file = run / "samples.jsonl"
    async with asyncio.timeout(120):
        while not file.exists() or file.read_bytes().count(b"\n") < 10:
            assert process.returncode is None
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    before = whole_lines(file)
    assert 10 <= before.count(b"\n") < 160
    ended = await deepmath(*command)
    assert ended.status == 0
    assert file.read_bytes().startswith(before)
    keys = [one.key for one in read_samples(run)]
    assert len(set(keys)) == len(keys) == 160


def whole_lines(file: Path) -> bytes:
    content = file.read_bytes()
    return content[: content.rfind(b"\n") + 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark", "math50"], "did you mean math500"),
        (["--benchmark", "math500"], "hf download --repo-type dataset HuggingFaceH4/MATH-500"),
        (["--benchmark", "{file}"], "has no column answer; it has problem, solution"),
        (["--table", "four-way"], "give --adapter"),
        (["--adapter", "nowhere"], "no adapter at nowhere"),
        (["--model", "./nowhere"], "no model at ./nowhere"),
        (["--generator", "127.0.0.1:1", "--model", "x"], "leave out --generator"),
        (["--samples", "0"], "--samples"),
        (["--output", "{file}"], "cannot write to"),
    ],
)
async def test_invalid_input_is_reported_before_a_model_is_loaded(deepmath, tmp_path, arguments, message: str) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(json.dumps({"problem": "1+1?", "solution": "2"}) + "\n")
    ended = await deepmath("eval", *(one.format(file=file) for one in arguments))
    assert ended.status == 2 or (ended.status == 1 and "hf download" in ended.err)
    assert message in " ".join(ended.err.split())
    assert "starting the local stack" not in ended.err


async def test_folder_of_another_evaluation_is_rejected(deepmath, generator_address, tmp_path) -> None:
    run = str(tmp_path / "run")
    await deepmath("eval", "--generator", generator_address, *SMALL, "--output", run)
    ended = await deepmath("eval", "--generator", generator_address, *SMALL, "--output", run, "--temperature", "1")
    assert ended.status == 2
    assert "another evaluation" in ended.err
    assert "temperature" in ended.err


async def test_problems_of_reasoning_gym_are_scored_by_their_scorer(deepmath, generator_address, tmp_path) -> None:
    run, source = tmp_path / "run", "reasoning-gym:gcd+number_sorting(max_numbers=4)"
    command = ("eval", "--generator", generator_address, "--benchmark", source, *SMALL, "--output", str(run))
    ended = await deepmath(*command)
    assert ended.status == 0
    samples = list(read_samples(run))
    assert len(samples) == 12
    assert all(one.benchmark == source and one.score is not None for one in samples)
    settings = json.loads((run / "settings.json").read_text())
    assert settings["reasoning_gym"]
    before = (run / "samples.jsonl").read_bytes()
    assert (await deepmath(*command)).status == 0  # the same problems: nothing is drawn
    assert (run / "samples.jsonl").read_bytes() == before
    (run / "settings.json").write_text(json.dumps(settings | {"reasoning_gym": "0.0.1"}))
    refused = await deepmath(*command)
    assert refused.status == 2
    assert "reasoning_gym '0.0.1'" in refused.err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gcm", "did you mean lcm or gcd"),
        ("gcd(x=1)", "no option x"),
        ("gcd+", "is not a source"),
        ("no.yaml", "no such file"),
    ],
)
async def test_unknown_tasks_of_reasoning_gym_are_named(deepmath, source: str, message: str) -> None:
    ended = await deepmath("eval", "--plan", "--benchmark", f"reasoning-gym:{source}")
    assert ended.status == 2
    assert message in ended.err
