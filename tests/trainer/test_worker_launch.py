"""The output of a run's worker: in the run's file and in the service's log, whoever reads either."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_registry import RunRegistry
from deepmath_trainer.worker_launch import start_worker

# A trainer service that starts COMMAND as the worker of a run, waits for it, and logs its end.
_SERVICE = """
import asyncio, logging, sys
from pathlib import Path
from deepmath.observability.logs import set_up_logging, set_up_service_logging
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.worker_launch import start_worker

async def main():
    set_up_service_logging("info", sys.argv[1], "trainer")
    folder = RunFolder(Path(sys.argv[2]))
    with folder.hold() as lock:
        worker = await start_worker([sys.executable, "-P", "-c", sys.argv[3]], folder, lock)
    print(worker.pid, file=open(folder.path / "pid", "w"), flush=True)
    await worker.wait()
    logging.info("the worker ended with status %s", worker.returncode)

asyncio.run(main())
"""
_WORKER = """
import logging, os
from deepmath.observability.logs import set_up_logging
from deepmath_trainer.worker_launch import worker_log_format
set_up_logging("info", worker_log_format(), "trainer")
logging.getLogger("worker").info("a step")
os.write(2, b"NCCL WARN from C\\n")
raise RuntimeError("out of luck")
"""


def run_service(folder: Path, style: str, worker: str = _WORKER, stderr: int = subprocess.PIPE) -> bytes:
    command = [sys.executable, "-P", "-c", _SERVICE, style, str(folder), worker]
    ended = subprocess.run(command, stderr=stderr, timeout=120, check=True)
    return ended.stderr or b""


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_of_service_and_worker_are_in_the_services_log_and_the_workers_in_its_file(tmp_path, style) -> None:
    log = run_service(tmp_path, style).decode()
    file = (tmp_path / "worker.log").read_text()
    for text in ("a step", "NCCL WARN from C", "RuntimeError: out of luck"):
        assert text in log
        assert text in file
    assert "the worker ended with status 1" in log
    assert "the worker ended" not in file
    if style == "json":
        lines = [json.loads(line) for line in (log + file).splitlines()]
        assert {(line["service"], type(line["time"])) for line in lines} == {("trainer", str)}


def test_worker_waits_for_no_reader_of_the_services_log(tmp_path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x" * (1 << 16))
    run_service(tmp_path, "text", "print('line\\n' * 2_000_000)", stderr=writer)
    assert (tmp_path / "worker.log").read_bytes() + (tmp_path / "worker.log.1").read_bytes()
    os.close(reader)
    os.close(writer)


def test_worker_outlives_its_service_and_logs_on(tmp_path) -> None:
    worker = (
        "import sys, time\nfor _ in range(100):\n    print('alive', flush=True); time.sleep(0.02)\nprint('finished')"
    )
    command = [sys.executable, "-P", "-c", _SERVICE, "json", str(tmp_path), worker]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as service:
        assert service.stderr
        service.stderr.readline()
        service.send_signal(signal.SIGKILL)
        service.stderr.read()  # until the worker ends, which has it open
    messages = [json.loads(line)["message"] for line in (tmp_path / "worker.log").read_text().splitlines()]
    assert messages == ["alive"] * 100 + ["finished"]


async def test_log_is_bounded(tmp_path, monkeypatch) -> None:
    folder = RunFolder(tmp_path)
    code = "import os\nfor _ in range(30):\n    os.write(1, b'0123456789abcde\\n' * 65536)\nprint('end')"
    with folder.hold() as lock:
        worker = await start_worker([sys.executable, "-c", code], folder, lock)
    async with asyncio.timeout(120):
        await worker.wait()
    sizes = [path.stat().st_size for path in tmp_path.glob("worker.log*")]
    assert len(sizes) == 2
    assert max(sizes) <= 8 << 20
    assert folder.worker_log.read_bytes().endswith(b"end\n")


@pytest.mark.parametrize("code", ["raise SystemExit('the reason')", _WORKER.replace("out of luck", "the reason")])
async def test_reason_of_a_failed_run_is_the_last_line_of_its_worker(tmp_path, monkeypatch, code) -> None:
    monkeypatch.setattr("deepmath_trainer.run_registry.worker_command", lambda *_: [sys.executable, "-P", "-c", code])
    runs = RunRegistry(tmp_path, stop_seconds=5)
    folder = runs.new("failing")
    await runs.start(folder, parse_config(read_recipe("tiny-math"), ["generators=['127.0.0.1:1']"]))
    async with asyncio.timeout(60):
        while not (state := runs.state(folder)).ended:  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.02)
    assert state.status == "failed"
    assert "the reason (full log: " in state.error
