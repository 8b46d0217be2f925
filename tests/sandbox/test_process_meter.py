"""Measurements of processes that have ended."""

import os
import subprocess

import pytest

from deepmath.sandbox.supervisor.process_meter import ProcessMeter


def test_memory_of_a_dead_process_is_an_os_error():
    process = subprocess.Popen(["sleep", "60"])
    meter = ProcessMeter(os.pidfd_open(process.pid))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, not reaped
    with pytest.raises(ProcessLookupError):
        meter.status_bytes("VmHWM")
    process.wait()
    meter.close()
