"""Programs of a real model with recorded output, in the sandbox, in smolagents' local interpreter, and in plain Python.

`python -m benchmarks.real_programs` runs the programs of `../shared/data/programs.jsonl` (`code` and `output` a line;
`--file` names another file), each in a fresh session or process, the three runners in turn:

    sandbox      `Execute` of an executor service at its default level: a fresh sandbox for each program
    smolagents   LocalPythonExecutor, a new one for each program, in this process
    subprocess   `python -c`, a new process for each program

The output of a program is what it printed; if it ended by an exception, the last line of the traceback follows. It is
identical if it equals the recorded output but for the white space at both ends, which the authors of the records
removed. Every program that differs in the sandbox is listed with both outputs.
Results: benchmarks/results/real_programs.json.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from deepmath.clients import ExecutorClient
from deepmath.local_stack.stack import LocalStack

PROGRAMS = Path(__file__).parents[2] / "shared" / "data" / "programs.jsonl"
RESULTS = Path(__file__).parent / "results" / "real_programs.json"
LIMIT_S = 20.0  # the sandbox's default
SHOWN = 300  # characters of an output
Runner = Callable[[str], Awaitable[str]]


async def main(programs: list[dict[str, str]]) -> dict[str, Any]:
    """Run the programs in each runner, and return the results by the runner's name."""
    same: dict[str, list[bool]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    different = []
    async with LocalStack() as stack, ExecutorClient(stack.executor) as client:
        runners, notes = available_runners(client)
        await runners["sandbox"]("import sympy")  # the pool is full
        for number, program in enumerate(programs):
            for name, run in runners.items():
                started = time.perf_counter()
                output = await run(program["code"])
                times[name].append(1e3 * (time.perf_counter() - started))
                same[name].append(output.strip() == program["output"].strip())
                if name == "sandbox" and not same[name][-1]:
                    shown = {"recorded": program["output"][-SHOWN:], "sandbox": output[-SHOWN:]}
                    different.append({"program": number, **shown})
            if number % 100 == 0:
                print(number, {name: sum(found) for name, found in same.items()}, file=sys.stderr, flush=True)
    return {name: summary(same[name], times[name], times["sandbox"]) for name in runners} | {
        "different_in_the_sandbox": different,
        "notes": notes,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def available_runners(client: ExecutorClient) -> tuple[dict[str, Runner], dict[str, str]]:
    """Return the runners by name, and a note on each one that is not installed."""
    runners: dict[str, Runner] = {"sandbox": lambda code: run_in_sandbox(client, code)}
    notes = {}
    try:
        import smolagents  # noqa: F401
    except ImportError:
        notes["smolagents"] = "not installed: `pip install -e '.[smolagents]'`"
    else:
        runners["smolagents"] = run_in_smolagents
    runners["subprocess"] = run_in_subprocess
    return runners, notes


async def run_in_sandbox(client: ExecutorClient, code: str) -> str:
    """Return the output of `code` in a fresh session."""
    result = await client.execute(code)
    return result.stdout + last_line(result.exception.traceback)


async def run_in_smolagents(code: str) -> str:
    """Return the output of `code` in a new local interpreter."""
    from smolagents import LocalPythonExecutor

    executor = LocalPythonExecutor(["*"], timeout_seconds=LIMIT_S)
    executor.send_tools({})
    try:
        return str(executor(code).logs)
    except Exception as error:  # whatever the program or the interpreter raises
        return str(executor.state.get("_print_outputs", "")) + last_line(str(error))


async def run_in_subprocess(code: str) -> str:
    """Return the output of `code` in a new Python."""
    command = [sys.executable, "-I", "-c", code]
    try:
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return "TimeoutError"
    return ended.stdout + last_line(ended.stderr if ended.returncode else "")


def last_line(text: str) -> str:
    """Return the last line of `text`, if any."""
    return text.rstrip().rpartition("\n")[2]


def summary(same: list[bool], times: list[float], sandbox_times: list[float]) -> dict[str, Any]:
    """Return number, share and times of one runner, with the ratio of its time to the sandbox's, program by program."""
    return {
        "programs": len(same),
        "identical": sum(same),
        "identical_percent": round(100 * sum(same) / len(same), 2),
        "ms_p50": round(statistics.median(times), 2),
        "ms_mean": round(statistics.mean(times), 2),
        "times_the_sandboxs_p50": round(
            statistics.median(own / ours for own, ours in zip(times, sandbox_times, strict=True)), 2
        ),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=PROGRAMS)
    parser.add_argument("--every", type=int, default=1, help="Run every N-th program only.")
    options = parser.parse_args()
    if not options.file.exists():
        sys.exit(f"no programs: {options.file} does not exist; name a JSON Lines file with --file")
    lines = options.file.read_text(encoding="utf-8").splitlines()
    results = asyncio.run(main([json.loads(line) for line in lines[:: options.every]]))
    text = json.dumps(results, indent=2, ensure_ascii=False)
    print(text)
    if options.every == 1:
        RESULTS.write_text(text + "\n", encoding="utf-8")
