"""Resource limits of another process by prlimit(2), even for a root user without CAP_SYS_RESOURCE.

The kernel lets a process set another's limits if it has that capability, or if its real user and group ids equal the
other's. Root in most containers lacks the capability but may take any id: for the duration of the call this thread
takes the real ids of NOBODY, the user of sandboxes under a root supervisor. Its effective ids, and so its other rights,
stay. The system call is made directly, because the C library's setresuid changes the ids of all threads.
"""

import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from deepmath.sandbox.isolation import syscalls
from deepmath.sandbox.isolation.namespaces import NOBODY

# setresuid and setresgid, <asm/unistd.h>
_NUMBERS = {"x86_64": (117, 119), "aarch64": (147, 149)}
_KEEP = -1

STACK_BYTES = 400 << 20
"""Stack of a sandbox: room for 100 000 nested calls between Python and C (`inside/recursion_limit.py`)."""


def exchange(pid: int, kind: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return the previous soft and hard limit of `kind` of process `pid`; set `limits` if given.

    Raises:
        OSError: The process is gone, or belongs to a user whose processes this one may not change.
    """
    arguments = (pid, kind) if limits is None else (pid, kind, limits)
    try:
        return resource.prlimit(*arguments)
    except PermissionError:
        if os.geteuid() != 0:
            raise
    with _as_nobody():
        return resource.prlimit(*arguments)


@contextmanager
def large_stack() -> Iterator[None]:
    """Let programs that this process starts have a stack of STACK_BYTES, or as much as the hard limit allows.

    The kernel reserves the addresses below the stack at exec, by the soft limit of that moment.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


@contextmanager
def _as_nobody() -> Iterator[None]:
    user, group = os.getresuid()[0], os.getresgid()[0]
    _set_real_ids(NOBODY, NOBODY)
    try:
        yield
    finally:
        _set_real_ids(user, group)


def _set_real_ids(user: int, group: int) -> None:
    set_user, set_group = _NUMBERS[platform.machine()]
    syscalls.raw(set_group, "setresgid", group, _KEEP, _KEEP)
    syscalls.raw(set_user, "setresuid", user, _KEEP, _KEEP)
