"""`deepmath --help`, and the help of every command."""

import pytest

COMMANDS = [
    "solve",
    "exec",
    "up",
    "down",
    "serve",
    "contamination",
    "problems",
    "doctor",
    "train",
    "push",
    "eval",
    "grade",
    "report",
    "token",
    "certs",
]


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
