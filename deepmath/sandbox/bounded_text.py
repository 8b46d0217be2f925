"""Texts of any length in bounded memory: head and tail are kept, and the bytes cut from the middle are counted."""

import codecs


class HeadAndTail:
    r"""Keeps the first and the last `limit // 2` bytes of a UTF-8 text that arrives in pieces.

    Invalid bytes become the escapes of PEP 383, `\udcff` for 0xFF. A character is never cut in two.
    """

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._total = 0
        self._taken = 0  # bytes of the head

    def feed(self, data: bytes, final: bool = False) -> int:
        """Add the next bytes of the text, and return their length with the escapes; `final` marks the last ones."""
        # Decoding with backslashreplace makes one call per invalid byte, which would block the event loop.
        text = self._decoder.decode(data, final).encode("utf-8", "backslashreplace")
        length = len(text)
        self._total += length
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += text[:room]
            text = text[room:]
        self._tail += text
        if len(self._tail) > 2 * self._tail_limit:  # at intervals, because it copies the tail
            del self._tail[: -self._tail_limit or None]
        return length

    def take(self) -> str:
        r"""Return what the head has gained since the last call. All of it together is a prefix of the result.

        A `\r` at the end is left for the next call, because a `\n` may follow.
        """
        end = len(self._head) - self._head.endswith(b"\r")
        start, self._taken = self._taken, end
        return self._head[start:end].decode(errors="ignore")  # a character that is cut in two ends a full head

    def result(self) -> tuple[str, int]:
        """End the text; return head and tail, and the number of bytes cut between them."""
        self.feed(b"", final=True)
        if self._total <= self._head_limit + self._tail_limit:
            return (self._head + self._tail).decode(), 0
        tail = self._tail[-self._tail_limit :] if self._tail_limit else b""
        # A character that is cut in two is dropped on both sides.
        head_text = self._head.decode(errors="ignore")
        start = next((at for at, byte in enumerate(tail) if byte & 0xC0 != 0x80), len(tail))
        tail_text = tail[start:].decode(errors="ignore")
        return head_text + tail_text, self._total - len(head_text.encode()) - len(tail_text.encode())


def cut(text: str, limit: int) -> tuple[str, int]:
    """Return head and tail of `text` as valid Unicode in at most `limit` bytes, and the number of bytes cut."""
    pieces = HeadAndTail(limit)
    pieces.feed(str.encode(text, "utf-8", "backslashreplace"))  # not `text.encode`: a snippet may subclass `str`
    return pieces.result()
