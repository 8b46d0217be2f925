"""Namespaces of the zygote: user, network, mount, ipc, uts, pid.

They are entered once, before the maths libraries are loaded, and every sandbox is born into them: a fork then costs
no namespace. Sandboxes share them, but Landlock, seccomp and the missing privileges keep them apart.
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
    """The namespaces that `process` is in, by name."""
    files = {"network": "net", "mount": "mnt"}
    return {name: Path(f"/proc/{process}/ns", files.get(name, name)).stat().st_ino for name in FLAGS}


def enter() -> None:
    """Move this single-threaded process into new namespaces; the pid namespace begins with its next fork.

    Afterwards the process is root in its user namespace where it was root before, and NOBODY is mapped for the
    sandboxes; else NOBODY is all there is.

    Raises:
        OSError: the kernel refuses. The process is then of no further use, for it may be half way in.
    """
    ready_read, ready_write = os.pipe()
    target, uid, gid = os.getpid(), os.geteuid(), os.getegid()
    helper = os.fork()
    if helper == 0:  # outside of the new user namespace, where the right to write a map of two lines is
        os.close(ready_write)
        entered = os.read(ready_read, 1)
        os._exit(0 if entered and _write_maps(target, uid, gid) else 1)
    os.close(ready_read)
    try:
        syscalls.call("unshare", sum(FLAGS.values()))
        os.write(ready_write, b"!")
        socket.sethostname("sandbox")  # uname(2) would tell the host's name
    finally:
        os.close(ready_write)
        _, status = os.waitpid(helper, 0)
    if status != 0:
        raise PermissionError(errno.EPERM, "the id maps of the new user namespace cannot be written")


def nobody_is_mapped() -> bool:
    """Whether this user namespace knows NOBODY as a user and as a group."""
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
            (folder / "setgroups").write_text("deny")  # without it an unprivileged gid map is refused
            (folder / "uid_map").write_text(f"{NOBODY} {uid} 1\n")
            (folder / "gid_map").write_text(f"{NOBODY} {gid} 1\n")
    except OSError:
        return False
    return True
