"""Irrevocable lockdown of a forked sandbox, before it reads a byte of a snippet.

Theory of operation
-------------------
The kernel dictates the order. Descriptors come first, because nothing later may depend on one that stays open. Identity
and capabilities are dropped next, and no-new-privileges ensures that no exec can restore them; Landlock and seccomp
require it. Seccomp comes last, because it denies every call made before it.

Covered: files, network, other processes, kernel interfaces, devices, capabilities, file descriptors.
Not covered: processor time, wall time, memory and output, which the supervisor measures and limits from outside
(`sandbox_process.py`), and attacks on the kernel through the allowed calls.
"""

import ctypes
import fcntl
import os
import resource
from dataclasses import dataclass

from deepmath.sandbox.isolation import landlock, seccomp, syscalls
from deepmath.sandbox.isolation.namespaces import NOBODY
from deepmath.sandbox.isolation.rlimits import STACK_BYTES

CONTROL = 3  # descriptor of the socket to the supervisor
_LINUX_CAPABILITY_VERSION_3 = 0x20080522  # <linux/capability.h>
_HIGHEST_DESCRIPTOR = (1 << 31) - 1
_LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_NPROC: 0,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_STACK: STACK_BYTES,
}


@dataclass(frozen=True)
class Lockdown:
    """Lockdown that the zygote prepares once for all sandboxes.

    Attributes:
        rules: Descriptor of a Landlock ruleset; None if the kernel has no Landlock.
        program: Compiled seccomp filter; None without libseccomp.
        parent: Process id of the reaper, the parent of every sandbox.
    """

    rules: int | None
    program: bytes | None
    parent: int

    def enter(self, control: int, stdout: int, stderr: int) -> None:
        """Lock this process down. The three descriptors become CONTROL, 1 and 2; all others are closed."""
        os.setsid()
        syscalls.die_with_parent(self.parent)
        rules = _arrange_descriptors(control, stdout, stderr, self.rules)
        for kind, limit in _LIMITS.items():
            _, hard = resource.getrlimit(kind)
            capped = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (capped, capped))
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        if rules is not None:
            landlock.restrict(rules)
            os.close(rules)
        if self.program is not None:
            seccomp.load(self.program)


def _arrange_descriptors(control: int, stdout: int, stderr: int, rules: int | None) -> int | None:
    ends = [stdout, stderr, control, *([rules] if rules is not None else [])]
    # Duplicated to higher numbers first: one may occupy the place of another.
    lifted = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, CONTROL + len(ends)) for end in ends]
    places = range(1, 1 + len(ends))
    for end, place in zip(lifted, places, strict=True):
        os.dup2(end, place, inheritable=False)
    os.closerange(places.stop, _HIGHEST_DESCRIPTOR)
    return places[-1] if rules is not None else None


def drop_privileges(become_nobody: bool) -> None:
    """Drop every capability and, with `become_nobody`, which only root can do, change to the user NOBODY."""
    if become_nobody:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    _empty_bounding_set()
    if become_nobody:
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _clear_capabilities()


def _empty_bounding_set() -> None:
    for capability in range(64):
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
        except OSError:  # this kernel has no such capability, or this process may not drop it
            return


def _clear_capabilities() -> None:
    """Empty all capability sets with capset(2)."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    syscalls.call("capset", ctypes.byref(header), ctypes.byref(nothing))
