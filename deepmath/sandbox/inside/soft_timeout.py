"""The soft timeout of a snippet: SIGALRM from the supervisor, which raises TimeoutError in the snippet only."""

from typing import NoReturn


class SoftTimeout:
    """State of the timeout: `armed` while a snippet runs, `fired` once the signal has interrupted it."""

    armed = fired = False


def handle_alarm(*_: object) -> None:
    """Handle the supervisor's signal. Install it before the lockdown: afterwards seccomp forbids sigaction(2)."""
    if SoftTimeout.armed:
        raise_timeout()


def raise_timeout() -> NoReturn:
    """Interrupt the snippet.

    Raises:
        TimeoutError: Always.
    """
    SoftTimeout.fired = True
    raise TimeoutError("the time limit of the snippet was reached")
