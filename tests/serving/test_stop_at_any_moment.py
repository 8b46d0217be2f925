"""SIGTERM ends a service at every moment of its life, as process 1 of a container too, and nothing is left behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deepmath.exit_codes import EXIT_TERMINATED

pytestmark = pytest.mark.slow

AS_PROCESS_1 = ("unshare", "--pid", "--fork", "--mount-proc")
EXIT_SECONDS = 15  # a small part of the grace periods in the manifests
# Seconds after SIGTERM is handled; None: when the service has served for a moment.
MOMENTS = (0.0, 0.1, 0.3, 0.7, 1.2, None)


def handles_sigterm(process: psutil.Process) -> bool:
    caught = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "SigCgt" in line)
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("service", ["executor", "trainer"])
def test_sigterm_ends_a_service_at_any_moment(tmp_path, service: str, moment: float | None) -> None:
    if subprocess.run([*AS_PROCESS_1, "true"], capture_output=True, check=False).returncode:
        pytest.skip("cannot create a PID namespace here")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    options = ["--listen", f"unix:{tmp_path}/socket", *(["--runs", str(tmp_path / "runs")] * (service == "trainer"))]
    command = ["env", f"TMPDIR={temporary}", *AS_PROCESS_1, sys.executable, "-P", "-m", f"deepmath_{service}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not (started := psutil.Process(process.pid).children()) or not handles_sigterm(started[0]):
                assert process.poll() is None
                time.sleep(0.001)
            assert process.stdout
            if moment is None:
                while process.stdout.readline():  # the last line is that it serves
                    break
            time.sleep(0.2 if moment is None else moment)
            family = [*started, *started[0].children(recursive=True)]
            started[0].send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=EXIT_SECONDS)
        finally:
            process.kill()
    assert process.returncode in (0, EXIT_TERMINATED)
    assert "Traceback" not in errors
    assert not psutil.wait_procs(family, timeout=5)[1]
    assert not list(temporary.iterdir())
    assert not (tmp_path / "socket").exists()
