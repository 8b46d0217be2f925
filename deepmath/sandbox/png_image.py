"""Size limits of a snippet's figures, and a check of a PNG file by its signature and header, without decoding it.

Layout of the file: Portable Network Graphics (PNG) Specification, sections 5.2 and 11.2.1.
"""

import struct

MOST_FIGURES = 8
"""Figures of one snippet."""
MOST_FIGURE_BYTES = 1 << 20
"""Bytes of all figures of one snippet: PNG files."""
MOST_PIXELS = 1 << 22
"""Pixels of one figure."""

_START = struct.Struct("!8sI4sII")  # signature; length and type of the first chunk; width and height in pixels
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 13
_END = b"\0\0\0\0IEND\xaeB`\x82"


def is_png(data: bytes) -> bool:
    """Return whether `data` starts and ends as a PNG file of at most MOST_PIXELS."""
    if len(data) < _START.size or not data.endswith(_END):
        return False
    signature, length, kind, width, height = _START.unpack_from(data)
    return (signature, length, kind) == (_SIGNATURE, _HEADER_BYTES, b"IHDR") and 0 < width * height <= MOST_PIXELS
