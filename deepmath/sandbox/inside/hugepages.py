"""Large pages under the memory that every sandbox inherits: a fork copies one entry where it would copy 512.

For speed only: where the kernel has no large pages to give, everything works as it does without them.
"""

import ctypes
from pathlib import Path

_HUGE_PAGE_BYTES = 2 << 20
_MADV_COLLAPSE = 25  # <asm-generic/mman-common.h>, Linux 6.1
_ARENA_BYTES = 1 << 20  # Objects/obmalloc.c
_OBJECT_BYTES = 512  # the largest that Python's own allocator serves
_RESERVED_BYTES = 64 << 20  # a little more than the objects of the maths libraries take

_pins: list[bytes] = []


def reserve_arenas() -> None:
    """Make Python take the memory for its objects in one piece, not in arenas scattered between the libraries.

    Call it before the libraries are loaded. One object in each arena keeps it from being given back.
    """
    payload = _OBJECT_BYTES - b"".__sizeof__()
    objects = [bytes(payload) for _ in range(_RESERVED_BYTES // _OBJECT_BYTES)]
    _pins.extend(objects[:: _ARENA_BYTES // _OBJECT_BYTES // 2])


def collapse() -> None:
    """Put large pages under all private memory that is no file's; needs /proc."""
    madvise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, _, _, _, *name = line.split(maxsplit=5)
        if "w" not in access or (name and name[0].strip() != "[heap]"):
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        start = -(-start // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
        for page in range(start, end - _HUGE_PAGE_BYTES + 1, _HUGE_PAGE_BYTES):
            # Refused where nothing is mapped yet, and where there is no large page to be had: both are fine.
            madvise(ctypes.c_void_p(page), ctypes.c_size_t(_HUGE_PAGE_BYTES), _MADV_COLLAPSE)
