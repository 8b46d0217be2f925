"""Baseline of `executor`: fork, run and wait in a process with the zygote's modules and memory, without isolation."""

import gc
import json
import os
import statistics
import sys
import time

from benchmarks.executor import SNIPPET
from deepmath.sandbox import MATHS, hugepages

COUNT = 60


def fork_and_run(null_device: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            os.dup2(null_device, 1)
            exec(SNIPPET, {})
        finally:
            os._exit(0)
    return child


def measure(null_device: int) -> dict[str, float]:
    times = []
    for _ in range(COUNT):
        started = time.perf_counter()
        os.waitpid(fork_and_run(null_device), 0)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    running = 0
    for _ in range(2 * COUNT):
        if running == 4:
            os.wait()
            running -= 1
        fork_and_run(null_device)
        running += 1
    for _ in range(running):
        os.wait()
    rate_of_4 = 2 * COUNT / (time.perf_counter() - started)
    return {
        "fresh_session_ms_p50": 1e3 * statistics.median(times),
        "fresh_sessions_per_s_1": COUNT / sum(times),
        "fresh_sessions_per_s_4": rate_of_4,
    }


if __name__ == "__main__":
    hugepages.reserve_arenas()
    MATHS.load()
    gc.collect()
    gc.freeze()
    hugepages.collapse()
    null_device = os.open(os.devnull, os.O_WRONLY)
    for _ in sys.stdin:
        print(json.dumps(measure(null_device)), flush=True)
