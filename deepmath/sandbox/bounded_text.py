"""Texts of any length in bounded memory: of a long one the head and the tail are kept, and what was cut is counted."""

import codecs


class HeadAndTail:
    r"""Keeps the first and the last `limit // 2` bytes of a UTF-8 text that arrives in pieces.

    Bytes that are not UTF-8 become the escapes of PEP 383, `\udcff` for 0xFF. A character is never cut in two.
    """

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._total = 0

    def feed(self, data: bytes, final: bool = False) -> None:
        """Take the next bytes of the text; `final` says that no more will come."""
        # Decoding with backslashreplace takes a call for each byte: rubbish would hold up everybody.
        text = self._decoder.decode(data, final).encode("utf-8", "backslashreplace")
        self._total += len(text)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += text[:room]
            text = text[room:]
        self._tail += text
        if len(self._tail) > 2 * self._tail_limit:  # only now and then, because it copies the tail
            del self._tail[: -self._tail_limit or None]

    def result(self) -> tuple[str, int]:
        """Return the text, which ends here, and how many bytes of it were cut from its middle."""
        self.feed(b"", final=True)
        if self._total <= self._head_limit + self._tail_limit:
            return (self._head + self._tail).decode(), 0
        tail = self._tail[-self._tail_limit :] if self._tail_limit else b""
        # A character that the cut went through is left out on either side.
        head_text = self._head.decode(errors="ignore")
        start = next((at for at, byte in enumerate(tail) if byte & 0xC0 != 0x80), len(tail))
        tail_text = tail[start:].decode(errors="ignore")
        return head_text + tail_text, self._total - len(head_text.encode()) - len(tail_text.encode())


def cut(text: str, limit: int) -> tuple[str, int]:
    """Return `text` as valid Unicode in at most `limit` bytes, head and tail, and how many bytes were cut."""
    pieces = HeadAndTail(limit)
    pieces.feed(str.encode(text, "utf-8", "backslashreplace"))  # of `str` itself: the text may be of a snippet's class
    return pieces.result()
