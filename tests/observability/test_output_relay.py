"""Output of a process and its children: each line one JSON object, in bounded files, and nobody waits for a reader."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmath.observability.log_line import encode_log_line, message_of
from deepmath.observability.output_relay import OutputRelay, RelaySettings, printed_lines

FULL_PIPE = 1 << 16

# Everything that writes to a standard stream without our logging.
_PRINTS = """
import logging, os, subprocess, sys, threading, warnings
from deepmath.observability.logs import report_error, set_up_service_logging
from deepmath.observability.standard_streams import announce
set_up_service_logging("info", "json", "executor")
logging.getLogger("ours").info("a record\\nof two lines")
announce("serving on here")
print("print to stdout", flush=True)
print("print to stderr", file=sys.stderr)
os.write(2, b"C0000 00:00:00.000000 1 file.cc:1] C++ to stderr\\n\\n\\xff not UTF-8\\n")
os.write(2, b'{"torn": \\n["an array"]\\n{"level": "info"}\\n[1/3]\\r[2/3]\\r[3/3]\\n')
subprocess.run([sys.executable, "-c", "print('a child'); raise SystemExit('its last words')"])
warnings.warn("a warning of Python")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
logging.getLogger().handlers[0]._writer.flush()
"""
_ENDINGS = {
    "return": ("", 0, []),
    "exit": ("report_error('the reason'); sys.exit(1)", 1, ["the reason"]),
    "exception": ("raise ValueError('at the end')", 1, ["unhandled exception: ValueError: at the end"]),
    "abort": ("os.write(2, b'terminate called'); os.abort()", -6, ["terminate called"]),
    "kill": ("print('last', flush=True); os.kill(os.getpid(), 9)", -9, ["last"]),
}
_PRINTED = [
    *("a record\nof two lines", "serving on here", "print to stdout", "print to stderr"),
    *("C0000 00:00:00.000000 1 file.cc:1] C++ to stderr", "\ufffd not UTF-8"),
    *('{"torn": ', '["an array"]', '{"level": "info"}', "[3/3]", "a child", "its last words"),
    "unhandled exception: ZeroDivisionError: division by zero",
]


def objects(data: bytes) -> list[dict[str, Any]]:
    """Return the lines, each of which must be an object with the fields of the log."""
    lines = [json.loads(line) for line in data.splitlines()]
    assert all({"level", "time", "service", "logger", "message"} == line.keys() - {"exception"} for line in lines)
    assert {type(line["time"]) for line in lines} <= {str}
    return lines


@pytest.mark.parametrize("ending", _ENDINGS)
def test_every_line_of_a_process_and_its_children_is_an_object(ending) -> None:
    code, status, last = _ENDINGS[ending]
    ended = subprocess.run([sys.executable, "-c", _PRINTS + code], capture_output=True, timeout=60, check=False)
    assert ended.returncode == status
    lines = objects(ended.stdout) + objects(ended.stderr)
    messages = {message_of(json.dumps(line).encode()) for line in lines}
    assert {*_PRINTED, *last} <= messages
    assert any("UserWarning: a warning of Python" in message for message in messages)
    assert {line["service"] for line in lines} == {"executor"}


def relayed(data: bytes, **values: Any) -> bytes:
    """Return what a relay in this process makes of `data`."""
    written: list[bytes] = []
    relay = OutputRelay(RelaySettings(**values))
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file, os.fdopen(reader, "rb"):
        assert len(data) < FULL_PIPE
        file.write(data)
        file.close()
        for line in printed_lines(reader):
            relay._write([_List(written)], line)  # type: ignore[list-item]
    return b"".join(written)


class _List:
    def __init__(self, written: list[bytes]) -> None:
        self.write = written.append


@given(st.lists(st.binary(max_size=200) | st.text(max_size=100).map(str.encode), max_size=20).map(b"\n".join))
def test_any_bytes_become_objects_with_the_same_text(data) -> None:
    lines = objects(relayed(data, service="trainer"))
    states = [line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace") for line in data.split(b"\n")]
    assert [line["message"] for line in lines] == [state for state in states if state.strip()]


@given(st.text(max_size=200), st.sampled_from(["info", "error"]))
def test_log_lines_of_children_are_passed_on_unchanged(message, level) -> None:
    line = encode_log_line(level, 1.5, "generator", "vllm", message or "-")
    assert relayed(line, service="generator") == line


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_text_is_printable(data) -> None:
    assert not set(relayed(data).decode()) & {"\x1b", "\x9b", "\x07", "\u202e"}


def test_deeply_nested_or_huge_json_is_text(tmp_path) -> None:
    data = b'{"time":' + b"[" * 20_000 + b"\n" + b'{"time":' + b"9" * 5000 + b"}\n"
    assert len(objects(relayed(data, service="trainer"))) == 2


@pytest.mark.parametrize(
    "data",
    [
        b'{"time":"t","v":NaN}',
        b'{"time":"t","v":-Infinity}',
        '{"time":"t"}'.encode("utf-16-le"),
        b'{"time":"t","v":"\xed\xa0\x80"}',
        '{"time":"t","v":"\x9b2J"}'.encode(),
        '{"time":"t","v":"\u202e"}'.encode(),
    ],
)
def test_what_a_strict_parser_rejects_or_a_terminal_obeys_is_text(data) -> None:
    (line,) = objects(relayed(data, service="trainer"))
    assert line["message"] == data.decode(errors="replace")


def run_relay(data: bytes, stdout: int | None = None, **values: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a relay as a process on `data`, printed to its `stderr` input."""
    reader, writer = os.pipe()
    command: Sequence[str] = RelaySettings(stderr=reader, **values).command()
    with subprocess.Popen(command, pass_fds=[reader], stdout=stdout, stderr=stdout or subprocess.PIPE) as process:
        os.close(reader)
        with os.fdopen(writer, "wb") as file:
            file.write(data)
        _, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, b"", errors)


def test_file_and_its_predecessor_are_bounded_and_end_with_the_last_lines(tmp_path: Path) -> None:
    lines = [f"{number:09}\n".encode() for number in range(100_000)]
    limit = 100_000
    run_relay(b"".join(lines), forward=False, file=str(tmp_path / "log"), max_file_bytes=limit)
    kept = (tmp_path / "log.1").read_bytes() + (tmp_path / "log").read_bytes()
    assert limit < len(kept) <= 2 * limit
    assert kept.splitlines(keepends=True) == lines[-len(kept) // 10 :]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]


def test_file_is_continued_and_its_earlier_size_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    run_relay(b"after\n", forward=False, file=str(log))
    assert log.read_bytes() == b"before\nafter\n"
    run_relay(b"new\n", forward=False, file=str(log), max_file_bytes=14)
    assert (log.read_bytes(), (tmp_path / "log.1").read_bytes()) == (b"new\n", b"before\nafter\n")


def test_lines_go_to_the_file_and_to_stderr(tmp_path: Path) -> None:
    ended = run_relay(b"one\ntwo", file=str(tmp_path / "log"))
    assert ended.stderr == b"one\ntwo\n" == (tmp_path / "log").read_bytes()


def test_unwritable_file_costs_neither_the_printing_process_nor_stderr(tmp_path: Path) -> None:
    ended = run_relay(b"one\n", file=str(tmp_path / "none" / "log"))
    assert ended.stderr.endswith(b"No such file or directory\none\n")
    ended = run_relay(b"one\n", service="trainer", file=str(tmp_path / "none" / "log"))
    assert [line["level"] for line in objects(ended.stderr)] == ["error", "info"]


def test_lines_that_a_file_loses_are_counted_there_in_the_format_of_the_log(tmp_path: Path) -> None:
    for service in ("trainer", ""):
        log = OutputRelay(RelaySettings(service, file=str(tmp_path / "log")))._open_file(None)
        assert log
        log.write(b"x" * (5 << 20) + b"\n")  # does not fit into the queue
        log.write(b"{}\n")
        log.close()
    gap, _, text, _ = (tmp_path / "log").read_bytes().splitlines()
    assert "1 lines were lost here" in json.loads(gap)["message"]
    assert text.startswith(b"1 lines were lost here")


def test_reader_that_stops_holds_up_nobody_and_the_file_has_every_line(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x" * FULL_PIPE)
    data = b"".join(f"{number:09}\n".encode() for number in range(300_000))
    assert run_relay(data, stdout=writer, file=str(tmp_path / "log"), max_file_bytes=1 << 30).returncode == 0
    assert (tmp_path / "log").read_bytes() == data
    os.close(reader)
    os.close(writer)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_error_in_the_relay_holds_up_nobody(monkeypatch) -> None:
    monkeypatch.setattr(OutputRelay, "_write", lambda *_: 1 / 0)
    reader, writer = os.pipe()
    relay = threading.Thread(target=OutputRelay(RelaySettings(stderr=reader, forward=False)).run)
    relay.start()
    with os.fdopen(writer, "wb") as file:
        file.write(b"line\n" * FULL_PIPE)
    relay.join(10)
    os.close(reader)
    assert not relay.is_alive()


_STUCK = """
import logging, os, sys
from deepmath.observability.logs import lost_lines, set_up_service_logging
set_up_service_logging("info", "json", "executor")
for _ in range(1000):
    logging.info("x" * 10_000)
    print("printed directly " * 1000, file=sys.stderr)
with open(sys.argv[1], "w") as file:
    file.write(str(lost_lines()))
"""


def test_service_counts_the_lines_it_lost_to_a_reader_that_stopped(tmp_path: Path) -> None:
    """10 MB of log and 17 MB that is printed directly, of which the queues hold 10 MB."""
    reader, writer = os.pipe()
    os.write(writer, b"x" * FULL_PIPE)
    command = [sys.executable, "-c", _STUCK, str(tmp_path / "lost")]
    assert subprocess.run(command, stderr=writer, stdout=writer, timeout=60, check=False).returncode == 0
    assert 100 < int((tmp_path / "lost").read_text()) < 1000
    os.close(reader)
    os.close(writer)


def test_service_with_closed_streams_does_not_write_into_another_file(tmp_path: Path) -> None:
    script = f"file = open({str(tmp_path / 'data')!r}, 'w')\nassert file.fileno() == 2\n" + _PRINTS
    subprocess.run(["/bin/sh", "-c", 'exec "$@" 2>&-', "-", sys.executable, "-c", script], check=True, timeout=60)
    assert (tmp_path / "data").read_text() == ""


@pytest.mark.parametrize("stdin", ["<&-", "</dev/null"])
@pytest.mark.parametrize("stdout", ["1>&-", ""])
def test_service_with_closed_streams_logs(stdin, stdout) -> None:
    command = ["/bin/sh", "-c", f'exec "$@" {stdin} {stdout}', "-", sys.executable, "-c", _LOGS]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert {line["message"] for line in objects(ended.stderr)} == {"a record", "a child"}


_LOGS = """
import logging, subprocess
from deepmath.observability.logs import set_up_service_logging
set_up_service_logging("info", "json", "executor")
logging.info("a record")
subprocess.run("echo a child >&2", shell=True)
"""
