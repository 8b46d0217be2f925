"""What the attack tests share: the way past the import allow-list, the attacker, and the bystander nobody may touch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepmath.executor.v1 import executor_pb2 as pb

if TYPE_CHECKING:
    from support.executor_process import Executor, Session

# An attacker goes past the import allow-list first: `random` holds a reference to `os`.
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
# What the runner would send, sent by the snippet itself.
FORGE = """
def send(body):
    os.write(3, len(body).to_bytes(4, "big") + body)
def forge(message):
    send(sys.modules["json"].dumps(message).encode())
sleep = sys.modules["time"].sleep
"""
OK, EXCEPTION, VIOLATION = pb.OUTCOME_OK, pb.OUTCOME_EXCEPTION, pb.OUTCOME_POLICY_VIOLATION
CRASHED, MEMORY, OUTPUT = pb.OUTCOME_CRASHED, pb.OUTCOME_OUT_OF_MEMORY, pb.OUTCOME_OUTPUT_LIMIT
CPU, WALL = pb.OUTCOME_CPU_TIMEOUT, pb.OUTCOME_WALL_TIMEOUT


class Bystander:
    """Somebody else's session, open while the attacks go on. Its variables and answers have to stay right."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._checks = 0

    async def arrive(self) -> None:
        """Do what an honest client does."""
        await self._session.run("import sympy\nchecks, keepsake = 0, {'a': [1, 2]}")

    async def is_as_before(self) -> None:
        """Its next snippet answers as it did before the attack."""
        self._checks += 1
        result = await self._session.run("checks += 1\nchecks, keepsake, sympy.factorint(360)")
        assert result.value == f"({self._checks}, {{'a': [1, 2]}}, {{2: 3, 3: 2, 5: 1}})", result


class Attacker:
    """Runs attacks and looks after the bystander behind each."""

    def __init__(self, executor: Executor, bystander: Bystander, session: Session) -> None:
        self.executor, self.bystander = executor, bystander
        self._session = session

    async def run(self, code: str, prelude: str = PRELUDE, **limits: int) -> pb.SnippetResult:
        """Run what is refused or kills its sandbox, so that nothing is left of it for the next attack.

        Each has a sandbox of its own where that is cheap.
        """
        if self.executor.sandboxes_are_cheap:
            result = await self.executor.execute(prelude + code, **limits)
        else:
            result = await self._session.run(prelude + code, **limits)
            await self._session.run("globals().clear()")  # memory that is held would fail the next
        await self.bystander.is_as_before()
        return result


def is_refused(result: pb.SnippetResult, *kinds: str) -> None:
    """The snippet was told no, by an exception of one of `kinds`, and lives on."""
    assert (result.outcome, result.state_lost) == (EXCEPTION, False), result
    assert result.exception.type in kinds, result


def is_killed(result: pb.SnippetResult) -> None:
    """The kernel killed the sandbox for a system call."""
    assert (result.outcome, result.state_lost) == (VIOLATION, True), result
