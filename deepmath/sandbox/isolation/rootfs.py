"""Minimal read-only root file system: the Python installation and the shared libraries that it loads."""

import ctypes
import os
import sysconfig
from pathlib import Path

from deepmath.sandbox.isolation import syscalls

# <linux/mount.h>, <linux/fcntl.h>
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_AT_RECURSIVE = 0x8000
_AT_EMPTY_PATH = 0x1000
_AT_FDCWD = -100
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 32, 1 << 14, 1 << 18
_MNT_DETACH = 2
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4


class _MountAttributes(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def python_paths() -> list[Path]:
    """Return the folders that a lazy import may read: standard library, site-packages, loaded shared libraries.

    Call it after the preload set is loaded and while /proc is still mounted.
    """
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {Path(sysconfig.get_path(name)).resolve() for name in names}
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = {Path(line.split(maxsplit=5)[5]) for line in maps if ".so" in line and "/" in line}
    folders |= {path.resolve().parent for path in mapped}
    existing = sorted(folder for folder in folders if folder.is_dir())
    return [folder for folder in existing if not any(parent in folders for parent in folder.parents)]


def pivot(paths: list[Path]) -> None:
    """Make `paths` the whole root file system, each in its place, read-only, nosuid and nodev.

    Needs an own mount namespace.
    """
    syscalls.call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    # Clone them before the new root hides them.
    trees = {path: _clone_read_only(path) for path in paths}
    root = Path("/proc")  # any mount point that every machine has
    syscalls.call("mount", b"tmpfs", bytes(root), b"tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, b"size=256k,mode=755")
    for path, tree in trees.items():
        place = root / path.relative_to("/")
        place.mkdir(parents=True)
        syscalls.raw(syscalls.MOVE_MOUNT, "move_mount", tree, b"", _AT_FDCWD, bytes(place), _MOVE_MOUNT_F_EMPTY_PATH)
        os.close(tree)
    os.chdir(root)
    syscalls.call("pivot_root", b".", b".")  # stacks the old root under the new one: pivot_root(2), NOTES
    syscalls.call("umount2", b".", _MNT_DETACH)
    os.chdir("/")
    read_only = _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    syscalls.call("mount", b"none", b"/", None, read_only, None)


def _clone_read_only(path: Path) -> int:
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    tree = syscalls.raw(syscalls.OPEN_TREE, "open_tree", _AT_FDCWD, bytes(path), flags)
    attributes = _MountAttributes(attr_set=_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV)
    size = ctypes.sizeof(attributes)
    reference = ctypes.byref(attributes)
    syscalls.raw(syscalls.MOUNT_SETATTR, "mount_setattr", tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, reference, size)
    return tree
