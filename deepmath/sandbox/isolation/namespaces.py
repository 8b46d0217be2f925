"""Namespaces of the zygote: user, network, mount, ipc, uts, pid.

The zygote enters them once, before it loads the preload set, and every sandbox is born in them, so that a fork creates
no namespace. Sandboxes share them; Landlock, seccomp and the lack of privileges separate sandboxes from each other.
"""

import errno
import os
import socket
from pathlib import Path

from deepmath.sandbox.isolation import syscalls

# <linux/sched.h>
FLAGS = {
    "user": 0x10000000,
    "network": 0x40000000,
    "mount": 0x00020000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "pid": 0x20000000,
}
NOBODY = 65534


def identities(process: int | str = "self") -> dict[str, int]:
    """Return the inode number of each namespace of `process`, by name."""
    files = {"network": "net", "mount": "mnt"}
    return {name: Path(f"/proc/{process}/ns", files.get(name, name)).stat().st_ino for name in FLAGS}


def enter() -> None:
    """Move this single-threaded process into new namespaces. The pid namespace starts with its next fork.

    A root process stays root in its user namespace, and NOBODY is mapped for the sandboxes. For any other user, only
    NOBODY is mapped.

    Raises:
        OSError: The kernel refused. The process must exit: some of the namespaces may be entered.
    """
    ready_read, ready_write = os.pipe()
    target, uid, gid = os.getpid(), os.geteuid(), os.getegid()
    helper = os.fork()
    if helper == 0:  # stays outside the new user namespace, as the right to write a map of two lines requires
        os.close(ready_write)
        entered = os.read(ready_read, 1)
        os._exit(0 if entered and _write_maps(target, uid, gid) else 1)
    os.close(ready_read)
    try:
        syscalls.call("unshare", sum(FLAGS.values()))
        os.write(ready_write, b"!")
        socket.sethostname("sandbox")  # uname(2) would return the host's name
    finally:
        os.close(ready_write)
        _, status = os.waitpid(helper, 0)
    if status != 0:
        raise PermissionError(errno.EPERM, "the id maps of the new user namespace cannot be written")


def nobody_is_mapped() -> bool:
    """Whether this user namespace maps NOBODY, as a user and as a group."""
    for name in ("uid_map", "gid_map"):
        ranges = [line.split() for line in Path("/proc/self", name).read_text().splitlines()]
        if not any(int(start) <= NOBODY < int(start) + int(count) for start, _, count in ranges):
            return False
    return True


def _write_maps(target: int, uid: int, gid: int) -> bool:
    folder = Path("/proc", str(target))
    try:
        if uid == 0:
            two_lines = f"0 0 1\n{NOBODY} {NOBODY} 1\n"
            (folder / "uid_map").write_text(two_lines)
            (folder / "gid_map").write_text(two_lines)
        else:
            (folder / "setgroups").write_text("deny")  # the kernel refuses an unprivileged gid map otherwise
            (folder / "uid_map").write_text(f"{NOBODY} {uid} 1\n")
            (folder / "gid_map").write_text(f"{NOBODY} {gid} 1\n")
    except OSError:
        return False
    return True
