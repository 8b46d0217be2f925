"""`deepmath serve`."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["executor", "--bogus"], "--bogus"),
        (["executor", "--listen", "256.0.0.1:99999"], "cannot listen"),
        (["generator"], "model"),
        (["generator", "--model", "./no-such-model"], "no model at"),
        (["generator", "--model", "./no-such-model", "--dialect", "hermse"], "did you mean hermes?"),
    ],
)
async def test_serve_reports_unusable_settings(deepmath, arguments: list[str], message: str) -> None:
    ended = await deepmath("serve", *arguments)
    assert ended.status in (1, 2)
    assert message in ended.err


@pytest.mark.parametrize("command", [("serve", "generator"), ("solve",), ("eval",), ("up",)])
async def test_help_lists_the_dialects(deepmath, command: tuple[str, ...]) -> None:
    ended = await deepmath(*command, "--help")
    words = "".join(character if character.isalpha() else " " for character in ended.out).split()
    assert ended.status == 0
    assert {"dialect", "tool", "call", "fence", "hermes", "tag"} <= set(words)


async def test_unknown_dialect_has_exit_status_2(deepmath) -> None:
    for command in (["serve", "generator", "--model", "x"], ["up"], ["eval"]):
        ended = await deepmath(*command, "--dialect", "tool-cal")
        assert ended.status == 2
        assert "did you mean tool-call?" in ended.err
