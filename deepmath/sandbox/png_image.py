"""Size limits of a snippet's figures, and a check of a PNG file by its chunks, without decoding it.

Layout of the file: Portable Network Graphics (PNG) Specification, sections 5.2, 5.3 and 11.2.1.
"""

import struct
import zlib

MOST_FIGURES = 8
"""Figures of one snippet."""
MOST_FIGURE_BYTES = 1 << 20
"""Bytes of all figures of one snippet: PNG files."""
MOST_PIXELS = 1 << 22
"""Pixels of one figure."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct("!I4s")  # length of the data and type; the data and its checksum follow
_CHECKSUM = struct.Struct("!I")
_SIZE = struct.Struct("!II")  # width and height in pixels, at the start of the header
_HEADER_BYTES = 13
# What matplotlib writes. Others hold compressed texts and profiles, or frames, which a viewer would decode too.
_BETWEEN = {b"pHYs", b"tEXt", b"IDAT"}
_MOST_CHUNKS = 1024  # a chunk of image data has about 64 KiB


def is_png(data: bytes) -> bool:
    """Return whether `data` is a PNG file of at most MOST_PIXELS, made of undamaged chunks for one image only."""
    chunks = _chunks(data)
    if chunks is None or [kind for kind, _ in (chunks[0], chunks[-1])] != [b"IHDR", b"IEND"]:
        return False
    kinds, header = [kind for kind, _ in chunks[1:-1]], chunks[0][1]
    if len(header) != _HEADER_BYTES or b"IDAT" not in kinds or not _BETWEEN.issuperset(kinds):
        return False
    width, height = _SIZE.unpack_from(header)
    return bool(0 < width * height <= MOST_PIXELS)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Return types and data of the chunks of a file, at least one; None if it is damaged or has too many."""
    chunks: list[tuple[bytes, bytes]] = []
    at = len(_SIGNATURE)
    if not data.startswith(_SIGNATURE):
        return None
    while at < len(data):
        if len(chunks) == _MOST_CHUNKS or at + _CHUNK.size > len(data):
            return None
        length, kind = _CHUNK.unpack_from(data, at)
        end = at + _CHUNK.size + length
        if end + _CHECKSUM.size > len(data) or _CHECKSUM.unpack_from(data, end) != (zlib.crc32(data[at + 4 : end]),):
            return None
        chunks.append((kind, data[at + _CHUNK.size : end]))
        at = end + _CHECKSUM.size
    return chunks or None
