"""What a forked sandbox does before it sees a byte of a snippet. Everything here is for ever.

Theory of operation
-------------------
The order is forced by the kernel. Descriptors first, because the rest must not depend on any that stay open. Then
the identity and the capabilities are given up, and no-new-privileges makes sure that no exec could ever give them back;
Landlock and seccomp ask for it. Seccomp is last: it forbids every call that came before it.

Covered: files, network, other processes, kernel interfaces, devices, capabilities, file descriptors.
Not covered here: processor time, wall time, memory and output, which the supervisor measures and limits from outside
(`sandbox.py`), and attacks on the kernel by the calls that are allowed.
"""

import ctypes
import fcntl
import os
import resource
from dataclasses import dataclass

from deepmath.sandbox.isolation import landlock, seccomp, syscalls
from deepmath.sandbox.isolation.namespaces import NOBODY

CONTROL = 3  # the descriptor on which the sandbox talks to the supervisor
_LINUX_CAPABILITY_VERSION_3 = 0x20080522  # <linux/capability.h>
_NO_DESCRIPTOR_IS_HIGHER = (1 << 31) - 1
_LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_NPROC: 0,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_STACK: 64 << 20,
}


@dataclass(frozen=True)
class Lockdown:
    """What the zygote prepares once for all sandboxes."""

    rules: int | None
    """Descriptor of a Landlock ruleset; None where the kernel has no Landlock."""
    program: bytes | None
    """The compiled seccomp filter; None where there is no libseccomp."""
    parent: int
    """The process id of the reaper, whose children sandboxes are."""

    def enter(self, control: int, stdout: int, stderr: int) -> None:
        """Lock this process down; afterwards it has the three descriptors as CONTROL, 1 and 2."""
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
    # Lifted out of the way first: one of them may sit where another has to go.
    lifted = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, CONTROL + len(ends)) for end in ends]
    places = range(1, 1 + len(ends))
    for end, place in zip(lifted, places, strict=True):
        os.dup2(end, place, inheritable=False)
    os.closerange(places.stop, _NO_DESCRIPTOR_IS_HIGHER)
    return places[-1] if rules is not None else None


def drop_privileges(become_nobody: bool) -> None:
    """Give up every capability and, if asked to, become NOBODY, which takes privileges that root alone has."""
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
        except OSError:  # no such capability in this kernel, or none of ours to drop
            return


def _clear_capabilities() -> None:
    """capset(2) with nothing in any set."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    syscalls.call("capset", ctypes.byref(header), ctypes.byref(nothing))
