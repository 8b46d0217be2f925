"""Timeout for the set-up of each fixture.

pytest-timeout's limit covers the test function alone (`timeout_func_only`): the first test that uses an engine would
otherwise pay for its start. A pytest hook, imported by `tests/conftest.py`.
"""

import signal
from collections.abc import Generator

import pytest

SECONDS = 600  # of a fixture without those that it requests; vLLM starts in 20 to 60 s on idle cores


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """Raise TimeoutError in the set-up of a fixture that takes too long, even in a blocking call."""

    def expire(*_: object) -> None:
        raise TimeoutError(f"set-up of the fixture `{fixturedef.argname}` took longer than {SECONDS} s")

    handler = signal.signal(signal.SIGALRM, expire)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
        signal.signal(signal.SIGALRM, handler)
