"""`deepmath` itself, `problems`, `doctor`, `serve` and `up`."""

import asyncio
import json
import signal
import sys

import pytest

COMMANDS = ["solve", "exec", "up", "serve", "problems", "doctor", "train", "push", "eval", "report", "token", "certs"]


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


async def test_problems_are_json_lines_with_the_fields_of_the_contract(deepmath) -> None:
    ended = await deepmath("problems", "--count", "30", "--split", "test", "--seed", "4")
    problems = [json.loads(line) for line in ended.out.splitlines()]
    assert len(problems) == 30
    assert all(list(problem) == ["id", "family", "problem", "answer"] for problem in problems)


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--split", "dev"], ["--seed", "-1"]])
async def test_problems_refuse_wrong_usage_with_exit_status_2(deepmath, arguments: list[str]) -> None:
    assert (await deepmath("problems", *arguments)).status == 2


async def test_doctor_finds_this_machine_fit(deepmath) -> None:
    ended = await deepmath("doctor")
    assert ended.status == 0, ended.out
    for layer in ("seccomp", "landlock"):
        assert layer in ended.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["executor", "--bogus"], "--bogus"),
        (["executor", "--listen", "256.0.0.1:99999"], "cannot listen"),
        (["generator"], "model"),
        (["generator", "--model", "./no-such-model"], "no model at"),
    ],
)
async def test_serve_refuses_what_it_cannot_do(deepmath, arguments: list[str], told: str) -> None:
    ended = await deepmath("serve", *arguments)
    assert ended.status in (1, 2)
    assert told in ended.err


@pytest.mark.slow
async def test_up_prints_addresses_that_work_and_ends_on_ctrl_c(deepmath, free_port) -> None:
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
