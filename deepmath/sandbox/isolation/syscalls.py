"""System calls without a wrapper in Python 3.11, by number where glibc has no wrapper either."""

import ctypes
import os
import platform
import signal
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc_under_gil = ctypes.PyDLL(None, use_errno=True)

# Equal on every architecture, since the tables were unified (Linux 5.1, include/uapi/asm-generic/unistd.h).
OPEN_TREE = 428
MOVE_MOUNT = 429
MOUNT_SETATTR = 442
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446

# The old call, whose number depends on the architecture: some container profiles deny the new one, clone3.
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_PIDFD, _CLONE_PARENT = 0x1000, 0x8000  # <linux/sched.h>

# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _argument(value: Any) -> Any:
    return ctypes.c_long(value) if isinstance(value, int) else value


def raw(number: int, name: str, *arguments: Any) -> int:
    """Make system call `number`.

    Raises:
        OSError: The call failed; the message begins with `name`.
    """
    return _checked(_libc.syscall(ctypes.c_long(number), *map(_argument, arguments)), name)


def call(name: str, *arguments: Any) -> int:
    """Call the libc function `name`.

    Raises:
        OSError: It returned a negative number.
    """
    return _checked(getattr(_libc, name)(*map(_argument, arguments)), name)


def prctl(option: int, *arguments: Any) -> int:
    """Call the prctl of the C library with missing arguments zero, as the kernel requires.

    Raises:
        OSError: The call failed.
    """
    padded = (*arguments, *(0,) * (4 - len(arguments)))
    return call("prctl", option, *padded)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; exit now if `parent` is no longer the parent.

    `parent` is 0 if it lives outside this process's pid namespace.
    """
    prctl(PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(1)


def fork_sibling() -> tuple[int, int]:
    """Fork a child of this process's parent; return its pid and a pidfd, or (0, -1) in the child.

    The process must have a single thread. `os.fork` cannot set the parent, so this makes the same calls of Python's C
    API before and after the fork. The C library's own fork handlers are skipped: with one thread it holds no locks.

    Raises:
        OSError: The kernel refused.
    """
    pidfd = ctypes.c_int(-1)
    flags = _CLONE_PARENT | _CLONE_PIDFD | signal.SIGCHLD
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = _libc_under_gil.syscall(*map(_argument, (_CLONE[platform.machine()], flags, 0, ctypes.byref(pidfd), 0, 0)))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, -1
    error = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, os.strerror(error))
    return pid, pidfd.value
