"""Answers for libraries that ask about the host: an ordinary value or exception, instead of a dead process.

The C library looks up users, groups and hosts by modules (nss) that make system calls of their own and abort where
these fail; it is left with the method `files`, whose files a sandbox does not have. The names of the machine and of its
network card are not for a snippet. `fork_server.py` sets the environment: home directory, user name, time zone.
"""

import ctypes
import errno
import os
import platform
import uuid

_DATABASES = """
    aliases ethers group gshadow hosts initgroups netgroup networks passwd protocols publickey rpc services shadow
""".split()
_OLDEST_KERNEL = "5.13"  # the first with Landlock
# The C library fills these in by sysinfo(2), which seccomp denies, without a look at its error.
_MEMORY_SIZES = {name: os.sysconf_names[name] for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES")}
_original_sysconf = os.sysconf
_NO_NODE = 0x0100_0000_0000  # RFC 4122: a random node sets this bit, which no network card has


def answer_questions() -> None:
    """Set the answers. Call it before the preload set is loaded, because libraries keep the answers."""
    libc = ctypes.CDLL(None)
    if configure := getattr(libc, "__nss_configure_lookup", None):  # glibc
        for database in _DATABASES:
            configure(database.encode(), b"files")
    name = os.uname_result(("Linux", "sandbox", _OLDEST_KERNEL, "", platform.machine()))
    os.uname = lambda: name
    os.sysconf = _sysconf
    vars(platform)["_uname_cache"] = None
    # libuuid would open a socket to look for the network card.
    vars(uuid).update(_node=_NO_NODE, _generate_time_safe=None)


def _sysconf(name: str | int, /) -> int:
    if name in _MEMORY_SIZES or name in _MEMORY_SIZES.values():
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    return _original_sysconf(name)
