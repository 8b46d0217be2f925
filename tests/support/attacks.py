"""Common parts of the attack tests: the bypass of the import allow-list, the attacker, and the bystander's session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepmath.executor.v1 import executor_pb2 as pb

if TYPE_CHECKING:
    from support.executor_process import Executor, Session

# Every attack first bypasses the import allow-list: `random` holds a reference to `os`.
PRELUDE = """
import random
os = random._os
sys = os.sys
ctypes = sys.modules["ctypes"]
load = sys.modules["importlib"].import_module
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
def checked(result):
    if result in (-1, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def call(number, *arguments):
    return checked(libc.syscall(number, *arguments))
"""
# Frames as the runner sends them, sent by the snippet itself.
FORGE = """
def send(body):
    os.write(3, len(body).to_bytes(4, "big") + body)
def forge(message):
    send(b"".join(len(part).to_bytes(size, "big") + part for name, value in message.items()
        for size, part in ((1, name.encode()), (4, value if isinstance(value, bytes) else str(value).encode()))))
sleep = sys.modules["time"].sleep
"""
OK, EXCEPTION, VIOLATION = pb.OUTCOME_OK, pb.OUTCOME_EXCEPTION, pb.OUTCOME_POLICY_VIOLATION
CRASHED, MEMORY, OUTPUT = pb.OUTCOME_CRASHED, pb.OUTCOME_OUT_OF_MEMORY, pb.OUTCOME_OUTPUT_LIMIT
CPU, WALL = pb.OUTCOME_CPU_TIMEOUT, pb.OUTCOME_WALL_TIMEOUT


class Bystander:
    """Another client's session, open during the attacks. Its variables and results must stay correct."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._checks = 0

    async def set_up(self) -> None:
        """Assign the variables that `is_unharmed` checks."""
        await self._session.run("import sympy\nchecks, keepsake = 0, {'a': [1, 2]}")

    async def is_unharmed(self) -> None:
        """Assert that the session still computes correctly with its own variables."""
        self._checks += 1
        result = await self._session.run("checks += 1\nchecks, keepsake, sympy.factorint(360)")
        assert result.value == f"({self._checks}, {{'a': [1, 2]}}, {{2: 3, 3: 2, 5: 1}})", result


class Attacker:
    """Runs attacks, and checks the bystander after each."""

    def __init__(self, executor: Executor, bystander: Bystander, session: Session) -> None:
        self.executor, self.bystander = executor, bystander
        self._session = session

    async def run(self, code: str, prelude: str = PRELUDE, **limits: int) -> pb.SnippetResult:
        """Run an attack that must be refused or kill its sandbox, so that nothing of it reaches the next attack.

        Each attack has its own sandbox, except where sandboxes are containers.
        """
        if self.executor.sandboxes_are_cheap:
            result = await self.executor.execute(prelude + code, seed=0, client="", stdin="", **limits)
        else:
            result = await self._session.run(prelude + code, "", **limits)
            await self._session.run("globals().clear()")  # retained memory would fail the next attack
        await self.bystander.is_unharmed()
        return result


def is_refused(result: pb.SnippetResult, *kinds: str) -> None:
    """Assert that the snippet got an exception of one of `kinds` and its sandbox is alive."""
    assert (result.outcome, result.state_lost) == (EXCEPTION, False), result
    assert result.exception.type in kinds, result


def is_killed(result: pb.SnippetResult) -> None:
    """Assert that the kernel killed the sandbox for a system call."""
    assert (result.outcome, result.state_lost) == (VIOLATION, True), result
