"""Huge pages under the memory that every sandbox inherits: a fork then copies one page-table entry instead of 512.

An optimisation only. On a kernel without free huge pages, every call here has no effect.
"""

import ctypes
from pathlib import Path

_HUGE_PAGE_BYTES = 2 << 20
_MADV_COLLAPSE = 25  # <asm-generic/mman-common.h>, Linux 6.1
_ARENA_BYTES = 1 << 20  # Objects/obmalloc.c
_OBJECT_BYTES = 512  # the largest object that Python's own allocator serves
_RESERVED_BYTES = 64 << 20  # slightly more than the objects of the maths libraries take

_pins: list[bytes] = []


def reserve_arenas() -> None:
    """Make Python allocate the memory for its objects in one contiguous block.

    Without it, arenas end up scattered between the shared libraries. Call it before the libraries are loaded. One
    pinned object per arena keeps the arena from being freed.
    """
    payload = _OBJECT_BYTES - b"".__sizeof__()
    objects = [bytes(payload) for _ in range(_RESERVED_BYTES // _OBJECT_BYTES)]
    _pins.extend(objects[:: _ARENA_BYTES // _OBJECT_BYTES // 2])


def collapse() -> None:
    """Back all private anonymous memory of this process with huge pages. Needs /proc."""
    madvise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, _, _, _, *name = line.split(maxsplit=5)
        if "w" not in access or (name and name[0].strip() != "[heap]"):
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        start = -(-start // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
        for page in range(start, end - _HUGE_PAGE_BYTES + 1, _HUGE_PAGE_BYTES):
            # Fails where nothing is mapped yet or no huge page is free. Neither matters.
            madvise(ctypes.c_void_p(page), ctypes.c_size_t(_HUGE_PAGE_BYTES), _MADV_COLLAPSE)
