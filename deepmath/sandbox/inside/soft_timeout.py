"""The soft timeout of a snippet: the supervisor sends a signal, which raises in the snippet, and nowhere else."""

from typing import NoReturn


class SoftTimeout:
    """Whether the signal is to be heard now, and whether it was."""

    armed = rang = False


def interrupt(*_: object) -> None:
    """Handle the supervisor's signal. To be installed before the lockdown, which forbids it for ever."""
    if SoftTimeout.armed:
        ring()


def ring() -> NoReturn:
    """End the snippet for its time.

    Raises:
        TimeoutError: always.
    """
    SoftTimeout.rang = True
    raise TimeoutError("the time limit of the snippet was reached")
