"""Landlock: a sandbox reads the Python installation and nothing else, and reaches no TCP port, signal or socket.

Structures and constants are those of <linux/landlock.h>; what each ABI version adds is in landlock(7).
"""

import ctypes
import os
from pathlib import Path

from deepmath.sandbox.isolation import syscalls

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_SYSTEM_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # ABI version: how many of the rights it knows
_TCP_BIND_AND_CONNECT = 3  # ABI 4
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3  # ABI 6


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("handled_access_fs", "handled_access_net", "scoped")]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi() -> int:
    """The version of Landlock that the kernel speaks.

    Raises:
        OSError: the kernel has none (ENOSYS), or it is off (EOPNOTSUPP).
    """
    return syscalls.raw(syscalls.LANDLOCK_CREATE_RULESET, "landlock", None, 0, _CREATE_RULESET_VERSION)


def ruleset(readable: list[Path]) -> int:
    """A descriptor of rules that deny everything but reading beneath `readable`."""
    version = abi()
    rights = max(count for since, count in _FILE_SYSTEM_RIGHTS.items() if since <= version)
    attributes = _RulesetAttributes(
        handled_access_fs=(1 << rights) - 1,
        handled_access_net=_TCP_BIND_AND_CONNECT if version >= 4 else 0,
        scoped=_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0,
    )
    # An older kernel takes a longer structure as long as what it does not know is zero.
    size = ctypes.sizeof(attributes)
    rules = syscalls.raw(syscalls.LANDLOCK_CREATE_RULESET, "landlock", ctypes.byref(attributes), size, 0)
    for path in readable:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = _PathBeneath(_READ_FILE | _READ_DIR, folder)
        syscalls.raw(syscalls.LANDLOCK_ADD_RULE, "landlock", rules, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        os.close(folder)
    return rules


def restrict(rules: int) -> None:
    """Put `rules` in force for this process for ever; it needs no-new-privileges."""
    syscalls.raw(syscalls.LANDLOCK_RESTRICT_SELF, "landlock", rules, 0)
