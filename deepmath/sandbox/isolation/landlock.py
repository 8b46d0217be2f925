"""Landlock: a sandbox reads the Python installation and nothing else. TCP, signals and abstract sockets are denied.

Structures and constants are from <linux/landlock.h>; landlock(7) lists what each ABI version adds.
"""

import ctypes
import os
from pathlib import Path

from deepmath.sandbox.isolation import syscalls

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_SYSTEM_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # ABI version: number of rights it knows
_TCP_BIND_AND_CONNECT = 3  # ABI 4
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3  # ABI 6


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("handled_access_fs", "handled_access_net", "scoped")]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi() -> int:
    """Return the kernel's Landlock ABI version.

    Raises:
        OSError: The kernel has no Landlock (ENOSYS), or it is disabled (EOPNOTSUPP).
    """
    return syscalls.raw(syscalls.LANDLOCK_CREATE_RULESET, "landlock", None, 0, _CREATE_RULESET_VERSION)


def ruleset(readable: list[Path]) -> int:
    """Return a descriptor of rules that allow reading beneath `readable` and deny everything else."""
    version = abi()
    rights = max(count for since, count in _FILE_SYSTEM_RIGHTS.items() if since <= version)
    attributes = _RulesetAttributes(
        handled_access_fs=(1 << rights) - 1,
        handled_access_net=_TCP_BIND_AND_CONNECT if version >= 4 else 0,
        scoped=_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0,
    )
    # An older kernel accepts a longer structure if the fields it does not know are zero.
    size = ctypes.sizeof(attributes)
    rules = syscalls.raw(syscalls.LANDLOCK_CREATE_RULESET, "landlock", ctypes.byref(attributes), size, 0)
    for path in readable:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = _PathBeneath(_READ_FILE | _READ_DIR, folder)
        syscalls.raw(syscalls.LANDLOCK_ADD_RULE, "landlock", rules, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        os.close(folder)
    return rules


def restrict(rules: int) -> None:
    """Enforce `rules` on this process, irrevocably. Needs no-new-privileges."""
    syscalls.raw(syscalls.LANDLOCK_RESTRICT_SELF, "landlock", rules, 0)
