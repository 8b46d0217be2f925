"""`deepmath serve`."""

import pytest


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
