"""Lines are written whole and in order, or counted as lost; whoever writes them never waits."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.observability.line_writer import LineWriter
from deepmath.observability.logs import JsonFormatter, LineHandler, TextFormatter

BOUND = 1 << 16


def gap(lines: int) -> bytes:
    return f"{lines} lost\n".encode()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_in_thread(reader: int) -> tuple[bytearray, threading.Thread]:
    """Read to the end of the pipe in a thread."""
    read = bytearray()

    def run() -> None:
        while data := os.read(reader, 1 << 16):
            read.extend(data)

    thread = threading.Thread(target=run)
    thread.start()
    return read, thread


def read_until(reader: int, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += os.read(reader, 1 << 16)
    return data


@given(st.lists(st.binary(max_size=300).map(lambda line: line.replace(b"\n", b"") + b"\n"), max_size=40))
def test_lines_arrive_whole_and_in_order(lines) -> None:
    reader, end = os.pipe()
    read, thread = read_in_thread(reader)
    writer = LineWriter(end, gap)
    for line in lines:
        writer.write(line)
    writer.close()
    os.close(end)
    thread.join()
    os.close(reader)
    assert bytes(read) == b"".join(lines)


def test_lines_of_several_threads_and_writers_are_not_mixed(pipe) -> None:
    reader, end = pipe
    writers = [LineWriter(end, gap, most_queued_bytes=1 << 30) for _ in range(2)]
    lines = [letter * 9000 + b"\n" for letter in (b"a", b"b", b"c", b"d")]  # a pipe splits those over 4096 bytes

    def write(at: int) -> None:
        for _ in range(50):
            writers[at % 2].write(lines[at])

    threads = [threading.Thread(target=write, args=[at]) for at in range(4)]
    for thread in threads:
        thread.start()
    expected = 50 * sum(map(len, lines))
    read = b""
    while len(read) < expected:
        read += os.read(reader, 1 << 16)
    for thread in threads:
        thread.join()
    assert sorted(read.splitlines(keepends=True)) == sorted(lines * 50)


def test_reader_that_stops_costs_counted_lines_and_nobody_waits(pipe) -> None:
    reader, end = pipe
    writer = LineWriter(end, gap, most_queued_bytes=BOUND)
    lines = [f"{number:09}\n".encode() for number in range(50_000)]  # several times what pipe and queue hold
    for line in lines[:-1]:
        writer.write(line)
    assert 0 < writer.lost < len(lines)
    read, thread = read_in_thread(reader)
    while not writer.flush():
        pass
    writer.write(lines[-1])
    writer.close()
    os.dup2(os.open(os.devnull, os.O_WRONLY), end)
    thread.join()
    position = 0
    for line in bytes(read).splitlines(keepends=True):  # each gap line stands exactly for the lines lost at its place
        if line.endswith(b"lost\n"):
            position += int(line.split()[0])
        else:
            assert line == lines[position]
            position += 1
    assert position == len(lines)
    assert len(lines) - bytes(read).count(b"\n") + bytes(read).count(b"lost") == writer.lost


def test_losses_at_the_end_are_said_too(pipe) -> None:
    reader, end = pipe
    writer = LineWriter(end, gap, most_queued_bytes=100)
    writer.write(b"x" * 200 + b"\n")
    writer.close()
    assert os.read(reader, 100) == gap(1)


def test_pipe_without_a_reader_costs_counted_lines() -> None:
    reader, end = os.pipe()
    os.close(reader)
    reasons: list[str] = []
    writer = LineWriter(end, gap, reasons.append)
    for _ in range(5):
        writer.write(b"line\n")
        assert writer.flush()
    writer.close()
    os.close(end)
    assert (writer.lost, reasons) == (5, ["Broken pipe"])


def test_full_disk_is_reported_once_and_again_after_it_had_room(tmp_path) -> None:
    reasons: list[str] = []
    full, free = os.open("/dev/full", os.O_WRONLY), os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    target = os.dup(full)
    writer = LineWriter(target, gap, reasons.append)
    for source in (full, free, full):
        os.dup2(source, target)
        for _ in range(3):
            writer.write(b"line\n")
            assert writer.flush()
    assert reasons == ["No space left on device"] * 2
    assert writer.lost == 6
    assert (tmp_path / "log").read_text() == "3 lost\nline\nline\nline\n"
    for descriptor in (full, free, target):
        os.close(descriptor)


_ON_A_SMALL_DISK = """
import resource, os, sys
from deepmath.observability.line_writer import LineWriter
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
writer = LineWriter(file, lambda lines: b"%d lost\\n" % lines)
resource.setrlimit(resource.RLIMIT_FSIZE, (25, resource.RLIM_INFINITY))
for _ in range(4):
    writer.write(b"nine here\\n")
    writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
writer.write(b"nine here\\n")
"""


def test_torn_line_does_not_damage_the_next(tmp_path) -> None:
    """A file that may not grow, as on a disk that fills up in the middle of a line."""
    subprocess.run([sys.executable, "-c", _ON_A_SMALL_DISK, tmp_path / "log"], check=True, timeout=60)
    assert (tmp_path / "log").read_text() == "nine here\nnine here\nnine \n2 lost\nnine here\n"


_STUCK = """
import logging, os, sys
from deepmath.observability.logs import set_up_logging
set_up_logging("info")
for _ in range(100):
    logging.info("x" * 10_000)
"""


def test_process_ends_although_its_log_is_not_read(pipe) -> None:
    assert subprocess.run([sys.executable, "-c", _STUCK], stderr=pipe[1], timeout=60, check=False).returncode == 0


def test_process_without_stderr_does_not_log_into_another_file(tmp_path) -> None:
    script = f"file = open({str(tmp_path / 'data')!r}, 'w')\nassert file.fileno() == 2\n" + _STUCK
    subprocess.run(["/bin/sh", "-c", 'exec "$@" 2>&-', "-", sys.executable, "-c", script], check=True, timeout=60)
    assert (tmp_path / "data").read_text() == ""


def test_forked_child_writes_its_lines(pipe) -> None:
    script = """
import os
from deepmath.observability.line_writer import LineWriter
writer = LineWriter(1, lambda lines: b"")
writer.write(b"parent\\n")
writer.flush()
if pid := os.fork():
    os.waitpid(pid, 0)
else:
    writer.write(b"child\\n")
"""
    out = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True, timeout=60).stdout
    assert out == b"parent\nchild\n"


@pytest.mark.parametrize("formatter", [JsonFormatter("executor"), TextFormatter()], ids=["json", "text"])
def test_log_says_how_many_lines_it_lost(formatter: logging.Formatter, tmp_path: Path) -> None:
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    target = os.dup(file)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, target)
    handler = LineHandler(formatter, target)
    record = logging.LogRecord("deepmath.test", logging.INFO, "x.py", 1, "hello \ud800", (), None)
    for _ in range(3):
        handler.emit(record)
    assert handler._writer.flush()
    os.dup2(file, target)
    handler.emit(record)
    handler.close()
    for descriptor in (file, full, target):
        os.close(descriptor)
    said, hello = (tmp_path / "log").read_text().splitlines()
    assert handler.lost == 3
    if isinstance(formatter, JsonFormatter):
        said, hello = json.loads(said)["message"], json.loads(hello)["message"]
    assert "3 log lines were lost here" in said
    assert "hello" in hello
