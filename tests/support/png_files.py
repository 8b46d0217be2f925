"""PNG files from chunks. The sources of the functions run in sandboxes too."""

import zlib


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    body = kind + data
    return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def png(width: int = 1, height: int = 1, more: bytes = b"") -> bytes:
    """Return an image in shades of grey, which is black."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + pixels + chunk(b"IEND")
