"""The check of PNG files: one image of bounded size, and nothing else that a viewer would decode."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.png_files import chunk, png

from deepmath.sandbox.png_image import MOST_FIGURE_BYTES, MOST_PIXELS, is_png

BOMB = zlib.compress(bytes(1 << 20))
REFUSED = {
    "no bytes": b"",
    "signature alone": png()[:8],
    "no end": png()[:-12],
    "cut": png()[:-1],
    "more after its end": png() + b"<script>",
    "two images": png() + png()[8:],
    "too many pixels": png(MOST_PIXELS, 2),
    "negative sizes": png(2**32 - 1, 2**32 - 1),
    "no pixels": png(0, 1),
    "no image data": png().replace(chunk(b"IDAT", zlib.compress(b"\0\0")), b""),
    "second header": png(more=png()[8:33]),
    "compressed text": png(more=chunk(b"zTXt", b"a\0\0" + BOMB)),
    "international text": png(more=chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB)),
    "colour profile": png(more=chunk(b"iCCP", b"a\0\0" + BOMB)),
    "animation": png(more=chunk(b"acTL", (1000).to_bytes(4, "big") + bytes(4))),
    "unknown chunk": png(more=chunk(b"evIl", b"x")),
    "wrong checksum": png(more=chunk(b"tEXt", b"a\0b")[:-1] + b"\0"),
    "empty chunks": png(more=chunk(b"tEXt") * (MOST_FIGURE_BYTES // 12)),
    "length beyond the file": png()[:33] + b"\xff\xff\xff\xff" + png()[37:],
    "short header": png().replace(png()[8:33], chunk(b"IHDR", bytes(4))),
}


def test_image_of_the_largest_size_is_one() -> None:
    assert is_png(png())
    assert is_png(png(MOST_PIXELS, 1, chunk(b"tEXt", b"Software\0x") + chunk(b"pHYs", bytes(9))))


@pytest.mark.parametrize("name", REFUSED)
def test_other_file_is_refused(name: str) -> None:
    assert not is_png(REFUSED[name])


@given(st.integers(0, len(png()) - 1), st.integers(1, 255))
def test_changed_byte_is_refused(at: int, change: int) -> None:
    data = bytearray(png())
    data[at] ^= change
    assert not is_png(bytes(data))


@given(st.binary(max_size=64), st.integers(0, len(png())))
def test_any_bytes_are_checked_without_an_error(data: bytes, at: int) -> None:
    assert not is_png(data)
    is_png(png()[:at] + data)
