"""Audit log: content, destination, and lines that cannot be written."""

import asyncio
import hashlib
import json
import os
from pathlib import Path
from urllib.request import urlopen

import pytest
from deepmath_executor.audit import AuditLog
from deepmath_executor.caller import Caller
from prometheus_client.parser import text_string_to_metric_families
from support.executor_process import Executor, run_module, running

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.snippet import Snippet

NEEDS_MATHS = False
CALLER = Caller("10.0.0.1", "trainer")
LIMITS = Limits(1000, 900, 1 << 20, 4096)
CODE = "secret = 41"


def record(
    audit: AuditLog,
    code: str = CODE,
    sequence: int = 1,
    session: str = "trajectory-7",
    outcome: "pb.Outcome.ValueType" = pb.OUTCOME_OK,
    sampled: bool = True,
) -> None:
    snippet = Snippet(sequence, code, LIMITS, stdin="é")
    audit.record(CALLER, session, snippet, pb.SnippetResult(sequence=sequence, outcome=outcome), sampled)
    audit.flush()


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_line_has_client_code_hash_limits_outcome_and_usage(executor):
    async with executor.session(session_id="recorded", client="trainer-3") as session:
        result = await session.run("sum(range(10**6))", wall_ms=900)
    (line,) = await executor.audit_of("recorded")
    assert (line["client"], line["host"], line["sequence"], line["outcome"]) == ("trainer-3", "unix", 1, "OK")
    assert line["code_sha256"] == hashlib.sha256(b"sum(range(10**6))").hexdigest()
    assert line["limits"] == {"wall_ms": 900, "cpu_ms": 20_000, "memory_bytes": 512 << 20, "output_bytes": 16 << 10}
    for name in ("queue_ms", "wall_ms", "cpu_ms"):
        assert line[name] == pytest.approx(getattr(result.usage, name), abs=0.001)
    assert line["peak_memory_bytes"] == result.usage.peak_memory_bytes


async def test_lines_go_to_the_audit_file_and_not_to_stderr(tmp_path):
    file = tmp_path / "audit.jsonl"
    file.write_text('{"time":1}\n')
    async with running(tmp_path, f"--audit-file={file}", "--audit-code", "--waiting-sandboxes=1") as executor:
        await executor.execute(CODE)
    assert executor.audit() == []
    before, line = lines(file)
    assert before == {"time": 1}
    assert line["code"] == CODE


def test_sample_has_whole_sessions_and_everything_that_did_not_succeed(tmp_path):
    audit = AuditLog(str(tmp_path / "audit"), with_code=False, sample=0.1)
    failures = sorted(set(pb.Outcome.values()) - {pb.OUTCOME_OK})
    for number in range(600):
        sampled = audit.sample_session()
        for sequence in (1, 2, 3):
            record(audit, session=str(number), sequence=sequence, sampled=sampled)
        record(audit, session=str(number), sequence=4, outcome=failures[number % len(failures)], sampled=sampled)
    found: dict[object, list[object]] = {}
    for line in lines(tmp_path / "audit"):
        found.setdefault(line["session"], []).append((line["sequence"], line["sample"]))
    whole, failed_only = [(1, 0.1), (2, 0.1), (3, 0.1), (4, 1.0)], [(4, 1.0)]
    assert all(session in (whole, failed_only) for session in found.values())
    assert len(found) == 600
    assert 20 < sum(session == whole for session in found.values()) < 120  # 60 expected, with 7.3 of deviation


async def test_client_that_calls_all_its_sessions_alike_does_not_escape(tmp_path):
    """The same name and request id a hundred times: all or none of them were sampled if these decided."""
    options = ("--audit-file", str(tmp_path / "audit"), "--audit-sample", "0.5")
    async with running(tmp_path, *options) as executor:
        for _ in range(100):
            await executor.stub.Execute(pb.ExecuteRequest(code="1"), metadata=[("x-request-id", "the-same")])
    assert 20 < len(lines(tmp_path / "audit")) < 80  # 50 expected, with 5 of deviation


@pytest.mark.parametrize(("sample", "count"), [(0.0, 0), (1.0, 20)])
def test_sample_of_none_or_all(tmp_path, sample, count):
    audit = AuditLog(str(tmp_path / "audit"), with_code=False, sample=sample)
    for number in range(20):
        record(audit, session=str(number), sampled=audit.sample_session())
    assert len(lines(tmp_path / "audit")) == count


def test_code_is_not_written_by_default(tmp_path):
    record(AuditLog(str(tmp_path / "audit"), with_code=False))
    assert "secret" not in (tmp_path / "audit").read_text()


def test_code_cannot_forge_a_line(tmp_path):
    record(AuditLog(str(tmp_path / "audit"), with_code=True), code='1\n{"time":0}\r\u2028{"time":0}')
    (line,) = lines(tmp_path / "audit")
    assert line["client"] == "trainer"


def test_file_is_readable_by_its_owner_only(tmp_path):
    record(AuditLog(str(tmp_path / "audit"), with_code=False))
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/", "Is a directory"), ("/nowhere/audit", "No such file"), ("/dev/full", "No space left on device")],
)
def test_unwritable_file_raises_unavailable_with_the_reason(path, reason):
    with pytest.raises(Unavailable, match=f"cannot write audit log {path}: {reason}"):
        AuditLog(path, with_code=False)


async def test_service_does_not_start_without_its_audit_log():
    ended = await run_module("--audit-file=/dev/full")
    assert (ended.status, ended.out) == (1, "")
    assert "cannot write audit log /dev/full: No space left on device" in ended.err
    assert "Traceback" not in ended.err


def test_pipe_without_a_reader_raises_unavailable_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unavailable, match="No such device"):
        AuditLog(str(tmp_path / "pipe"), with_code=False)


def test_unwritable_lines_are_counted_logged_once_and_said_in_the_audit_log(tmp_path, caplog):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    audit = AuditLog(str(path), with_code=False)
    os.close(reader)
    for _ in range(5):
        record(audit)
    assert audit.lost == 5
    (message,) = [entry.message for entry in caplog.records]
    assert message.startswith(f"cannot write audit log {path}: Broken pipe")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    record(audit, sequence=99)
    gap, line = map(json.loads, os.read(reader, 1 << 20).splitlines())
    os.close(reader)
    assert (gap["lines_lost"], line["sequence"]) == (5, 99)


async def test_results_and_sigterm_do_not_wait_for_a_reader_of_stderr_that_stopped(tmp_path):
    reader, end = os.pipe()
    options = ("--audit-code", "--log-level=info", "--waiting-sandboxes=1", "--metrics-listen=127.0.0.1:0")
    try:
        async with running(tmp_path, *options, stderr=end) as executor:
            async with executor.session() as session:
                for _ in range(40):  # 5 MiB, over the 4 MiB of the queue
                    assert (await session.run("6 * 7 #" + "x" * (128 << 10))).value == "42"
            assert (await metrics_of(executor))["deepmath_executor_audit_lines_lost_total"] > 0
        assert executor.process.returncode == 0
    finally:
        os.close(reader)
        os.close(end)


async def metrics_of(executor: Executor) -> dict[str, float]:
    address = next(line for line in executor.startup_lines if line.startswith("metrics on")).removeprefix("metrics on ")
    text = await asyncio.to_thread(lambda: urlopen(f"http://{address}/metrics", timeout=10).read().decode())
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


async def test_snippet_returns_its_result_although_its_line_is_lost(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    async with running(tmp_path, f"--audit-file={path}", "--waiting-sandboxes=1") as executor:
        os.close(reader)
        results = [await executor.execute("6 * 7") for _ in range(3)]
        assert [result.value for result in results] == ["42"] * 3
    assert executor.log.read_text().count("cannot write audit log") == 1
