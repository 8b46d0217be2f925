"""`deepmath` itself, `problems`, `doctor`, `serve` and `up`."""

import asyncio
import json
import signal
import sys

import pytest

from deepmath import __version__
from deepmath.cli.commands import doctor
from deepmath.cli.main import COMMANDS


async def test_help_lists_every_command(deepmath) -> None:
    ended = await deepmath("--help")
    assert ended.status == 0
    assert all(command in ended.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_has_help(deepmath, command: str) -> None:
    subject = ["executor"] if command == "serve" else []
    ended = await deepmath(command, *subject, "--help")
    assert ended.status == 0
    assert "usage" in ended.out.lower()


async def test_problems_are_json_lines_with_the_documented_fields(deepmath) -> None:
    ended = await deepmath("problems", "--count", "30", "--split", "test", "--seed", "4")
    problems = [json.loads(line) for line in ended.out.splitlines()]
    assert len(problems) == 30
    assert all(list(problem) == ["id", "family", "problem", "answer"] for problem in problems)


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--split", "dev"], ["--seed", "-1"]])
async def test_incorrect_usage_of_problems_has_exit_status_2(deepmath, arguments: list[str]) -> None:
    assert (await deepmath("problems", *arguments)).status == 2


async def test_doctor_passes_on_this_machine(deepmath) -> None:
    ended = await deepmath("doctor")
    assert ended.status == 0, ended.out
    for name in ("seccomp", "landlock", "deepmath-executor", "deepmath-generator", "deepmath-trainer"):
        assert name in ended.out


def test_doctor_fails_on_a_service_of_another_version(monkeypatch) -> None:
    versions = {"executor": __version__, "generator": "0.0.9", "trainer": None}
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    base, executor, generator, trainer = doctor._distributions()
    assert (base.name, base.detail, base.passed) == ("deepmath-services", __version__, True)
    assert (executor.passed, generator.passed, trainer.passed) == (True, False, False)
    assert (generator.required, trainer.required) == (True, False)
    assert generator.detail.startswith(f"0.0.9, but deepmath-services is {__version__}")
    assert "from the checkout" in trainer.detail


def test_doctor_reports_an_executor_that_is_not_installed(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "installed_version", lambda _: None)
    (layers,) = doctor._layers()
    assert (layers.name, layers.passed, layers.required) == ("executor", False, True)
    assert not doctor._containers().passed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["executor", "--bogus"], "--bogus"),
        (["executor", "--listen", "256.0.0.1:99999"], "cannot listen"),
        (["generator"], "model"),
        (["generator", "--model", "./no-such-model"], "no model at"),
    ],
)
async def test_serve_reports_unusable_settings(deepmath, arguments: list[str], message: str) -> None:
    ended = await deepmath("serve", *arguments)
    assert ended.status in (1, 2)
    assert message in ended.err


@pytest.mark.slow
async def test_up_prints_working_addresses_and_stops_on_ctrl_c(deepmath, free_port) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from deepmath.cli.main import main; main()"),
        *("up", "--executor", f"127.0.0.1:{free_port}", "--generator", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
    )
    addresses = {}
    async with asyncio.timeout(240):
        while len(addresses) < 2:
            name, _, address = (await process.stdout.readline()).decode().strip().partition(" ")
            if name in ("executor", "generator"):
                addresses[name] = address.strip()
    ended = await deepmath("exec", "-", "--executor", addresses["executor"], stdin="6 * 7")
    assert ended.out == "42\n"
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
