"""The log of the executor's container, as `kubectl logs` shows it: JSON to the last line, and the relay as hardened."""

import json
import subprocess
import time
import uuid

import pytest
from support.docker_engine import HARDENED, IMAGE

pytestmark = pytest.mark.slow
NEEDS_MATHS = False


def docker(*arguments: str) -> str:
    ended = subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.usefixtures("image")
def test_every_line_of_the_first_process_of_a_container_is_an_object() -> None:
    name = f"log-{uuid.uuid4().hex[:8]}"
    options = ("--preload=none", "--listen=unix:/dev/shm/s", "--log-format=json", "--log-level=info")
    docker("run", "--detach", f"--name={name}", *HARDENED, IMAGE, *options)
    try:
        until = time.monotonic() + 60
        while "serving on" not in docker("logs", name):
            assert time.monotonic() < until
            time.sleep(0.2)
        docker("exec", name, "sh", "-c", "echo printed by a library > /proc/1/fd/2")
        docker("stop", "--time=60", name)
        lines = [json.loads(line) for line in docker("logs", name).splitlines()]
    finally:
        docker("rm", "--force", name)
    assert {(line["service"], type(line["time"])) for line in lines} == {("executor", str)}
    assert {"serving on unix:/dev/shm/s", "printed by a library"} <= {line["message"] for line in lines}
