"""Files that a user names: their paths, and their content as text, whatever editor or program wrote them."""

import codecs
import io
import os
import sys
import tokenize
from pathlib import Path
from typing import BinaryIO

from deepmath.errors import InvalidRequest

MAX_TEXT_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_MAX_PATH_BYTES, _MAX_NAME_BYTES = 4095, 255  # Linux's PATH_MAX less the terminating NUL, and NAME_MAX
STDIN = "-"
"""Stands for the standard input where a command accepts it."""

# UTF-32 first: its little-endian mark starts with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def user_path(name: str | Path) -> Path:
    """Return the path that an option or a setting names, with `~` and `~user` expanded; nothing else is.

    Relative paths are relative to the working directory. A `Path` is never expanded again.

    Raises:
        InvalidRequest: It is empty, too long, a URL, or names an unknown user.
    """
    if isinstance(name, Path):
        return name
    if not name or "\0" in name:
        raise InvalidRequest("a path is empty or has a NUL character; give the path of a file or folder")
    if not _is_path(name):
        raise InvalidRequest(f"{name[:100]}... is too long for a path, or has characters that no path has")
    if name.startswith("file:"):
        raise InvalidRequest(f"{name} is a URL; give the path of a file or folder, without `file://`")
    found = os.path.expanduser(name)  # noqa: PTH111 - pathlib expands `./~` too
    if found.startswith("~"):
        user = name.partition("/")[0]
        raise InvalidRequest(f"{name}: there is no home directory for {user}; for a file of that name write ./{name}")
    return Path(found)


def _is_path(name: str) -> bool:
    try:
        whole = os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return len(whole) <= _MAX_PATH_BYTES and all(len(part) <= _MAX_NAME_BYTES for part in whole.split(b"/"))


def expand_home(name: str) -> str:
    """Return a name that may be a path, such as that of a model, with `~` and `~user` expanded.

    Raises:
        InvalidRequest: It is a URL of a file, or names an unknown user.
    """
    return str(user_path(name)) if name.startswith(("~", "file:")) else name


def read_bytes(file: str | Path, limit: int = MAX_TEXT_BYTES) -> bytes:
    """Return the content of `file`, at most `limit` bytes; STDIN is the standard input. A pipe is read to its end.

    Raises:
        InvalidRequest: It cannot be read, or is larger.
    """
    path = user_path(file)
    try:
        if file == STDIN:
            content = _stdin().read(limit + 1)
        else:
            with path.open("rb") as opened:
                content = opened.read(limit + 1)
    except IsADirectoryError:
        raise InvalidRequest(f"cannot read {file}: it is a directory; give a file") from None
    except FileNotFoundError:
        raise InvalidRequest(f"cannot read {file}: no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidRequest(f"cannot read {file}: {reason}") from None
    if len(content) > limit:
        raise InvalidRequest(f"cannot read {file}: it is larger than {limit >> 20} MiB")
    return content


def read_text(file: str | Path, limit: int = MAX_TEXT_BYTES) -> str:
    r"""Return the text of a UTF-8 file, or of a UTF-16 or UTF-32 file with a byte-order mark; lines end with `\n`.

    Raises:
        InvalidRequest: It cannot be read, or is not such a text. The message names the first bad line and byte.
    """
    return decode_text(read_bytes(file, limit), name_of(file))


def read_source(file: str | Path, limit: int = MAX_TEXT_BYTES) -> str:
    r"""Return a Python source as Python reads it, by its byte-order mark or its coding cookie (PEP 263).

    Raises:
        InvalidRequest: It cannot be read, or is not in that encoding.
    """
    data, name = read_bytes(file, limit), name_of(file)
    encoding = "utf-8" if has_wide_mark(data) else _declared_encoding(data, name)
    if encoding.startswith("utf-8"):
        return decode_text(data, name)
    try:
        return _with_newlines(_checked(data.decode(encoding), name))
    except (ValueError, LookupError) as error:
        raise InvalidRequest(f"{name} is not in the encoding that it declares: {error}") from None


def decode_text(data: bytes, name: str) -> str:
    """Return the content `data` of the file `name` as `read_text` does.

    Raises:
        InvalidRequest: It is not such a text.
    """
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    try:
        return _with_newlines(_checked(data[len(mark) :].decode(encoding), name))
    except UnicodeDecodeError as error:
        at = error.start + len(mark)
        line = data.count(b"\n", 0, at) + 1
        where = f"line {line}, byte {at + 1} (0x{data[at]:02x})"
        advice = "convert it from its encoding, such as with `iconv -f ISO-8859-1 -t UTF-8`"
        raise InvalidRequest(f"{name} is not valid {encoding.upper()}: {where}; {advice}") from None


def name_of(file: str | Path) -> str:
    """Return the name of `file` in messages."""
    return "the standard input" if file == STDIN else str(file)


def check_text(path: Path, name: str) -> str:
    """Return the encoding of a text that is too large to be read at once: one that skips its byte-order mark.

    Raises:
        InvalidRequest: It is not a text, as for `decode_text`.
    """
    with path.open("rb") as file:
        encoding = text_encoding(file.read(4))
        file.seek(0)
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            while piece := file.read(_PIECE_BYTES):
                if "\0" in decoder.decode(piece):
                    break
            else:
                decoder.decode(b"", final=True)
                return encoding
        except UnicodeDecodeError:
            pass
        file.seek(0)
        decode_text(file.read(), name)  # raises, with the place
    return encoding


def text_encoding(start: bytes) -> str:
    """Return the encoding of a text that starts with these bytes, at least four: one that skips its byte-order mark."""
    mark = next((mark for mark in _MARKS if start.startswith(mark)), None)
    return "utf-8" if mark is None else "utf-8-sig" if mark == codecs.BOM_UTF8 else _MARKS[mark][:6]


def has_wide_mark(data: bytes) -> bool:
    """Return whether `data` starts with the byte-order mark of UTF-16 or UTF-32."""
    return any(data.startswith(mark) for mark in _MARKS if mark != codecs.BOM_UTF8)


def _declared_encoding(data: bytes, name: str) -> str:
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError as error:
        decode_text(data, name)  # has a better message if it is not UTF-8
        raise InvalidRequest(f"{name}: {error}; correct the coding cookie in its first two lines") from None


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise InvalidRequest("there is no standard input to read; give a file")
    return sys.stdin.buffer


def _checked(text: str, name: str) -> str:
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        advice = "give a text file (UTF-8, or UTF-16 with a byte-order mark)"
        raise InvalidRequest(f"{name} is not a text: NUL character in line {line}; {advice}")
    return text


def _with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
