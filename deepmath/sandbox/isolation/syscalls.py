"""The system calls that Python 3.11 has no name for, by number where glibc has none either."""

import ctypes
import os
import platform
import signal
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc_under_gil = ctypes.PyDLL(None, use_errno=True)

# The same on every architecture since the tables were unified (Linux 5.1, include/uapi/asm-generic/unistd.h).
OPEN_TREE = 428
MOVE_MOUNT = 429
MOUNT_SETATTR = 442
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446

# The old call has a number on each: not every container's profile lets the new one, clone3, through.
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
    """Make system call `number`; `name` is for the message of the OSError that it raises."""
    return _checked(_libc.syscall(ctypes.c_long(number), *map(_argument, arguments)), name)


def call(name: str, *arguments: Any) -> int:
    """Call the libc function `name`; raises OSError where it returns a negative number."""
    return _checked(getattr(_libc, name)(*map(_argument, arguments)), name)


def prctl(option: int, *arguments: Any) -> int:
    """Call prctl with absent arguments zero, as the kernel asks."""
    padded = (*arguments, *(0,) * (4 - len(arguments)))
    return call("prctl", option, *padded)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies; exit now if `parent` is not the parent any more.

    `parent` is 0 where it lives outside of this process's pid namespace.
    """
    prctl(PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(1)


def fork_sibling() -> tuple[int, int]:
    """Fork a child of this process's parent; return its pid and a pidfd, or (0, -1) in the child.

    To be called with one thread only. `os.fork` cannot do it; what it does for the interpreter before and after, with
    the same calls of Python's C API, is done here. The C library is not told: it has no locks to free with one thread.
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
