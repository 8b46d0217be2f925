"""`deepmath train`: rejected settings, and a complete run."""

import asyncio
import json
import os
import sys
from contextlib import suppress

import psutil
import pytest

from deepmath.exit_codes import EXIT_TERMINATED
from deepmath.local_stack.local_services import LocalServices

SMALL = (
    "rollout.groups=2",
    "rollout.samples=4",
    "optimizer.micro_batch=8",
    "optimizer.steps=2",
    "evaluation.problems=8",
)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--config", "tiny-mth"], "did you mean `tiny-math`"),
        (["optimizer.stps=3"], "did you mean `optimizer.steps`"),
        (["dialect=hermse"], "did you mean hermes?"),
        (["--resume"], "--name NAME"),
        (["--go-on"], "--go-on --name NAME"),
        (["data.dataset=./none.jsonl"], "none.jsonl"),
        (["--trainer", "nowhere"], "is not a valid address"),
    ],
)
async def test_invalid_setting_is_one_line_and_nothing_is_started(deepmath, tmp_path, arguments, reason: str) -> None:
    ended = await deepmath("train", *arguments, "--runs", str(tmp_path / "runs"))
    assert ended.status == 2
    assert reason in ended.err
    assert ended.err.count("\n") == 1


async def test_dry_run_prints_a_complete_configuration(deepmath, tmp_path) -> None:
    runs = ("--runs", str(tmp_path / "runs"))
    first = await deepmath("train", "--dry-run", "seed=5", *runs)
    assert first.status == 0
    file = tmp_path / "whole.yaml"
    file.write_text(first.out)
    again = await deepmath("train", "--dry-run", "--config", str(file), *runs)
    assert again.out == first.out
    assert "seed: 5" in again.out


async def test_unwritable_runs_folder_has_exit_status_1(deepmath, tmp_path) -> None:
    (tmp_path / "file").touch()
    ended = await deepmath("train", "--runs", str(tmp_path / "file" / "runs"))
    assert ended.status == 1
    assert "cannot write to" in ended.err


async def test_unreachable_trainer_has_exit_status_1(deepmath, free_port) -> None:
    ended = await deepmath("train", "--trainer", f"127.0.0.1:{free_port}")
    assert ended.status == 1
    assert f"the trainer at 127.0.0.1:{free_port} cannot be reached" in ended.err


async def test_sigterm_before_the_run_starts_stops_the_command_and_its_services(tmp_path) -> None:
    code = "from deepmath.cli.entry_point import main; main()"
    command = (sys.executable, "-c", code, "train", "--runs", str(tmp_path / "runs"))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr
    async for line in process.stderr:
        if line.startswith(b"starting executor and generator"):
            break
    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert await process.stderr.read() == b""
    assert (await process.wait(), bool(started)) == (EXIT_TERMINATED, True)
    assert not psutil.wait_procs(started, timeout=30)[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_run_reports_before_and_after_and_writes_an_adapter(deepmath, fresh_generator, tmp_path) -> None:
    runs = tmp_path / "runs"
    ended = await deepmath("train", *SMALL, f"generators=['{fresh_generator}']", "--runs", str(runs), "--name", "short")
    assert ended.status == 0, ended.err + (runs / "short" / "worker.log").read_text()
    assert "before" in ended.out
    assert "after" in ended.out
    assert "step 2/2" in ended.out
    run = runs / "short"
    assert (run / "adapter" / "adapter_model.safetensors").stat().st_size > 0
    assert (run / "adapter" / "README.md").is_file()
    assert len(list((run / "plots").glob("*.png"))) == 8
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    # A second run, of a standing trainer service, starts from the model as loaded and not from the first one's policy.
    async with LocalServices() as services:
        trainer = await services.start("trainer", "--runs", str(runs))
        again = ("--trainer", trainer, *SMALL, f"generators=['{fresh_generator}']", "--name", "second")
        ended = await deepmath("train", *again)
    assert ended.status == 0, ended.err + (runs / "second" / "worker.log").read_text()
    first, second = (json.loads((runs / name / "evaluation.json").read_text()) for name in ("short", "second"))
    assert second == first


@pytest.mark.parametrize("options", [[], ["--json"]])
async def test_sigterm_stops_the_command_although_nobody_reads_its_output(tmp_path, options) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x" * (1 << 16))  # full
    code = "from deepmath.cli.entry_point import main; main()"
    command = (sys.executable, "-c", code, "train", *options, "--runs", str(tmp_path / "runs"))
    process = await asyncio.create_subprocess_exec(*command, stdout=writer, stderr=writer)
    async with asyncio.timeout(120):
        # It reports that it starts a generator, and starts it.
        while not any("deepmath_generator" in name for name in command_lines(process.pid)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        process.terminate()
        assert await process.wait() == EXIT_TERMINATED
    os.close(reader)
    os.close(writer)


def command_lines(pid: int) -> list[str]:
    """Return the arguments of the processes below `pid`."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += child.cmdline()
    return found
