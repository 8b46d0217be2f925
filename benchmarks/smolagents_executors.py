"""Latency of snippets in executors for smolagents: its local interpreter, its containers, and our sandbox.

`python -m benchmarks.smolagents_executors` measures in milliseconds, through the interface that CodeAgent uses:

    first_snippet   creating an executor, sending a tool, and running `1 + 1`: the start of each new agent
    trivial         `1 + 1` in a warm executor
    loop            a million iterations of `x += i`
    sympy_solve     `sp.solve(x**2 - 5*x + 6, x)`
    tool            a call of a tool that adds two numbers

    local     LocalPythonExecutor, in this process
    sandbox   DeepMathExecutor on a running service, at its default level
    embedded  DeepMathExecutor that starts its own service (first_snippet only; otherwise like `sandbox`)
    docker    DockerExecutor, if a Docker engine is reachable; its tools run in the container. Its image is smolagents'
              own, except for the base (DEEPMATH_PYTHON_IMAGE) and sympy; it has its own network

The executors take turns for several rounds; each figure is the median over all runs.
Results: benchmarks/results/smolagents.json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smolagents import LocalPythonExecutor, tool
from smolagents.monitoring import AgentLogger, LogLevel

from deepmath.integrations.smolagents import DeepMathExecutor
from deepmath.local_stack.stack import LocalStack
from deepmath.sandbox.background_loop import BackgroundLoop

RESULTS = Path(__file__).parent / "results" / "smolagents.json"
SNIPPETS = {
    "trivial": ("1 + 1", "2", 30),
    "loop": ("x = 0\nfor i in range(1000000):\n    x += i\nx", "499999500000", 1),
    "sympy_solve": ("import sympy as sp\nx = sp.symbols('x')\nstr(sp.solve(x**2 - 5*x + 6, x))", "[2, 3]", 10),
    "tool": ("add(1, 2)", "3", 30),
}
IMPORTS = ["sympy"]
NAME = "deepmath-smolagents-benchmark"  # image and network
DOCKERFILE = """
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE}
RUN python3 -m venv /venv && /venv/bin/pip install -q jupyter_kernel_gateway jupyter_client ipykernel sympy
ENV PATH=/venv/bin:$PATH
EXPOSE 8888
CMD ["jupyter", "kernelgateway", "--KernelGatewayApp.ip=0.0.0.0", "--KernelGatewayApp.port=8888"]
"""
LIMIT_S = 600  # the local interpreter's default stops the loop on a busy machine


@tool
def add(x: int, y: int) -> int:
    """Adds two numbers.

    Args:
        x: The first number.
        y: The second number.
    """
    return x + y


def main(rounds: int, docker: bool) -> dict[str, Any]:
    """Measure all executors, and return the results by name."""
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    notes: dict[str, str] = {}
    loop = BackgroundLoop()
    stack = LocalStack()
    loop.run(loop.hold(stack))
    makers: dict[str, Callable[[], Any]] = {
        "local": lambda: LocalPythonExecutor(IMPORTS, timeout_seconds=LIMIT_S),
        "sandbox": lambda: DeepMathExecutor(IMPORTS, stack.executor, timeout_seconds=60),
        "embedded": lambda: DeepMathExecutor(IMPORTS, timeout_seconds=60),
    }
    if docker:
        try:
            build_image()
            makers["docker"] = docker_executor
        except (OSError, subprocess.CalledProcessError) as error:
            notes["docker"] = f"not available: {error}"
    try:
        for number in range(rounds):
            for name, make in makers.items():
                measured = measure(make, only_first=name == "embedded")
                medians = {key: round(statistics.median(of), 2) for key, of in measured.items()}
                print(number, name, medians, file=sys.stderr, flush=True)
                for key, of in measured.items():
                    times[name][key] += of
    finally:
        loop.close()
    results: dict[str, Any] = {
        name: {f"{key}_ms_p50": round(statistics.median(of), 2) for key, of in measured.items()}
        for name, measured in times.items()
    }
    return results | {
        "notes": notes,
        "rounds": rounds,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def measure(make: Callable[[], Any], only_first: bool) -> dict[str, list[float]]:
    """Measure one executor, from its creation."""
    times: dict[str, list[float]] = defaultdict(list)
    started = time.perf_counter()
    executor = make()
    try:
        executor.send_tools({"add": add})
        run(executor, "1 + 1", "2")
        times["first_snippet"].append(1e3 * (time.perf_counter() - started))
        if only_first:
            return times
        for name, (code, value, often) in SNIPPETS.items():
            run(executor, code, value)
            for _ in range(often):
                started = time.perf_counter()
                run(executor, code, value)
                times[name].append(1e3 * (time.perf_counter() - started))
    finally:
        if hasattr(executor, "cleanup"):
            executor.cleanup()
    return times


def run(executor: Any, code: str, value: str) -> None:
    """Run `code`, and check its value."""
    output = executor(code)
    assert str(output.output).strip().strip("'") == value, (code, output)


def docker_executor() -> Any:
    """Return smolagents' executor in a container of the image that `build_image` builds."""
    from smolagents.remote_executors import DockerExecutor

    watchdog = threading.Timer(LIMIT_S, lambda: os._exit(1))  # it waits for its container without a timeout
    watchdog.daemon = True
    watchdog.start()
    try:
        logger, settings = AgentLogger(level=LogLevel.OFF), {"network": NAME}
        return DockerExecutor(IMPORTS, logger, image_name=NAME, build_new_image=False, container_run_kwargs=settings)
    finally:
        watchdog.cancel()


def build_image() -> None:
    """Build the image, and create its network, since some engines have none by default."""
    base = os.environ.get("DEEPMATH_PYTHON_IMAGE", "python:3.11-slim-bookworm")
    build = [
        "docker",
        "build",
        "--quiet",
        "--network",
        "host",
        "--build-arg",
        f"PYTHON_IMAGE={base}",
        "--tag",
        NAME,
        "-",
    ]
    subprocess.run(build, input=DOCKERFILE, text=True, check=True, capture_output=True)
    if subprocess.run(["docker", "network", "inspect", NAME], capture_output=True, check=False).returncode:
        subprocess.run(["docker", "network", "create", NAME], check=True, capture_output=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-docker", action="store_true", help="skip smolagents' containers")
    arguments = parser.parse_args()
    measured = main(arguments.rounds, not arguments.no_docker)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))
