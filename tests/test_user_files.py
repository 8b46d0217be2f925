"""`deepmath.user_files`: a file is read as what it is, or refused with its line and what to do."""

import codecs
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.errors import InvalidRequest
from deepmath.user_files import decode_text, read_bytes, read_source, read_text, user_path

Read = Callable[[Path | str], str]
TEXT = "print('½ π')\nx = 1\n"
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a file"


@pytest.mark.parametrize("read", [read_text, read_source])
@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_file_with_a_byte_order_mark_is_read(file: Path, read: Read, encoding: str, newline: str) -> None:
    file.write_bytes(MARKS[encoding] + TEXT.replace("\n", newline).encode(encoding))
    assert read(file) == TEXT


@pytest.mark.parametrize("read", [read_text, read_source])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_file_without_one_is_utf_8(file: Path, read: Read, newline: str) -> None:
    file.write_bytes(TEXT.replace("\n", newline).encode())
    assert read(str(file)) == TEXT
    file.write_bytes(b"")
    assert read(str(file)) == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"x = 1\ny = 'caf\xe9'\n",
            r"is not valid UTF-8: line 2, byte 15 \(0xe9\); convert it from its encoding, such as with `iconv",
        ),
        ("x = 1\n".encode("utf-16-le"), "NUL character in line 1; give a text file"),
        (b"x\n\0", "NUL character in line 2"),
        (codecs.BOM_UTF16_LE + b"x", "is not valid UTF-16-LE: line 1, byte 3"),
        (b"\x89PNG\r\n", r"is not valid UTF-8: line 1, byte 1 \(0x89\)"),
    ],
)
@pytest.mark.parametrize("read", [read_text, read_source])
def test_other_encodings_are_refused_with_their_place(file: Path, read: Read, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidRequest, match=message):
        read(file)


@pytest.mark.parametrize("cookie", ["latin-1", "iso-8859-15", "cp1252", "mac-roman", "koi8-r"])
def test_coding_cookie_of_a_source_is_honoured(file: Path, cookie: str) -> None:
    text = f"# -*- coding: {cookie} -*-\nx = '°'\n"
    file.write_bytes(text.replace("\n", "\r\n").encode(cookie))
    assert read_source(file) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# coding: nonsense\n", "unknown encoding.*correct the coding cookie"),
        (b"# coding: rot13\n", "not a text encoding"),
        (b"# coding: ascii\n'\xe9'", "not in the encoding that it declares"),
        (codecs.BOM_UTF8 + b"# coding: latin-1\n", "correct the coding cookie"),
    ],
)
def test_wrong_coding_cookie_is_refused_as_python_does(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidRequest, match=message):
        read_source(file)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        text = decode_text(data, "a file")
    except InvalidRequest:
        assert data
    else:
        assert "\r" not in text
        assert "\0" not in text


def test_what_is_no_file_is_refused(tmp_path: Path, file: Path) -> None:
    for name, message in (
        (str(tmp_path), "it is a directory; give a file"),
        (str(file), "no such file"),
        (f"{tmp_path}/x/", "no such file"),
        ("x" * 300, "too long for a path"),
        ("", "empty"),
        ("a\0b", "NUL character"),
        ("file:///etc/passwd", "is a URL; give the path"),
        ("~no-such-user/x", "there is no home directory for ~no-such-user"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            read_text(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_is_refused(file: Path) -> None:
    file.touch(mode=0)
    with pytest.raises(InvalidRequest, match="Permission denied"):
        read_text(file)


def test_size_is_limited_for_files_without_an_end_too(file: Path) -> None:
    file.write_bytes(b"x" * 11)
    assert read_bytes(file, 11) == b"x" * 11
    for path in (file, Path("/dev/zero")):
        with pytest.raises(InvalidRequest, match="larger than"):
            read_bytes(path, 10)


def test_pipe_is_read_to_its_end(file: Path) -> None:
    os.mkfifo(file)
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(read_text, file)
        with file.open("wb", buffering=0) as writer:
            for piece in (b"a", b"\r", b"\nb"):
                writer.write(piece)
        assert reading.result() == "a\nb"


def test_closed_standard_input_is_refused() -> None:
    program = "import sys; sys.stdin = None; from deepmath.user_files import read_text; read_text('-')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "there is no standard input to read; give a file" in ended.stderr


def test_only_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/a/home")
    assert user_path("~") == Path("/a/home")
    assert user_path("~/x") == Path("/a/home/x")
    with pytest.raises(InvalidRequest, match="no such file"):
        read_text(Path("~/.bashrc"))
    for literal in ("$HOME/x", "${HOME}", "a~", "./~", "%USERPROFILE%", "*.py", "a b", "../x", "x/", "-x"):
        assert user_path(literal) == Path(literal)
