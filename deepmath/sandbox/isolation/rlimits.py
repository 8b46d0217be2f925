"""Resource limits of another process: prlimit(2), for a root without CAP_SYS_RESOURCE too.

The kernel lets a process set the limits of another where that capability says so, or where its real user and group are
the other's. Root in most containers has no such capability, but may be any user: for the length of the call this thread
takes the real ids of NOBODY, as whom sandboxes run where the supervisor is root. Its effective ids stay, and with them
every other right; no other thread is touched, which is why the C library, whose setresuid is for all threads, is not
asked.
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


def exchange(pid: int, kind: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return the soft and hard limit of `kind` that process `pid` had, and set `limits` if given.

    Raises:
        OSError: it is gone, or belongs to somebody whom this process does not govern.
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
