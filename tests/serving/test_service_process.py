"""SIGTERM: during start-up, while draining, and a second time."""

import os
import signal
import subprocess
import sys
import time

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2
from support.health import health_stub

from deepmath.exit_codes import EXIT_TERMINATED
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS

_AS_PROCESS_1 = [
    *("unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
]

_SLOW_TO_DRAIN = """
import asyncio
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.service_process import serve

async def drain():
    print("draining", flush=True)
    await asyncio.sleep(600)

asyncio.run(serve(GrpcServiceConfig(listen="127.0.0.1:0"), {}, drain))
"""


@pytest.mark.slow
@pytest.mark.vllm
def test_sigterm_ends_a_generator_that_is_loading_its_model_as_process_1_of_a_container(tmp_path) -> None:
    """The kernel drops signals to process 1 for which it has no handler."""
    if subprocess.run([*_AS_PROCESS_1, "true"], capture_output=True, check=False).returncode:
        pytest.skip("cannot create a PID namespace here")
    service = ("deepmath_generator", "--model", EMBEDDED_MODEL, *EMBEDDED_OPTIONS, f"--listen=unix:{tmp_path}/socket")
    command = [*_AS_PROCESS_1, sys.executable, "-P", "-m", *map(str, service)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 200
            while len(started := psutil.Process(process.pid).children(recursive=True)) < 3:  # vLLM's processes too
                assert time.monotonic() < until
                time.sleep(0.2)
            started[0].send_signal(signal.SIGTERM)
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, "serving on" in out) == (EXIT_TERMINATED, False)
    assert "Traceback" not in errors
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_draining_service_reports_not_serving_and_stops_at_once_on_a_second_signal() -> None:
    with subprocess.Popen([sys.executable, "-P", "-c", _SLOW_TO_DRAIN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            address = process.stdout.readline().removeprefix("serving on ").strip()
            with grpc.insecure_channel(address) as channel:
                check = health_stub(channel).Check
                assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
                process.terminate()
                assert process.stdout.readline() == "draining\n"
                assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_service_whose_drain_fails_stops_and_reports_the_reason() -> None:
    script = _SLOW_TO_DRAIN.replace("await asyncio.sleep(600)", "raise OSError('no space left')")
    with subprocess.Popen([sys.executable, "-P", "-c", script], stdout=-1, stderr=-1, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline().startswith("serving on")
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "no space left" in errors


def test_service_whose_stdout_has_no_reader_serves_and_stops(tmp_path) -> None:
    script = _SLOW_TO_DRAIN.replace('listen="127.0.0.1:0"', f'listen="unix:{tmp_path}/socket"')
    script = script.replace("await asyncio.sleep(600)", "return").replace('print("draining", flush=True)', "pass")
    reader, end = os.pipe()
    os.close(reader)
    with subprocess.Popen([sys.executable, "-P", "-c", script], stdout=end, stderr=-1, text=True) as process:
        os.close(end)
        try:
            with grpc.insecure_channel(f"unix:{tmp_path}/socket") as channel:
                check = health_stub(channel).Check
                status = check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60).status
            assert status == health_pb2.HealthCheckResponse.SERVING
            process.terminate()
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
