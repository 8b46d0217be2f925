"""The limit that `executor` is measured against: fork, run, wait in a process like the zygote, with no isolation."""

import json
import os
import statistics
import sys
import time

from benchmarks.executor import SNIPPET
from deepmath.sandbox.inside import hugepages, preload

COUNT = 60


def fork_and_run(nowhere: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            os.dup2(nowhere, 1)
            exec(SNIPPET, {})
        finally:
            os._exit(0)
    return child


def measure(nowhere: int) -> dict[str, float]:
    times = []
    for _ in range(COUNT):
        started = time.perf_counter()
        os.waitpid(fork_and_run(nowhere), 0)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    running = 0
    for _ in range(2 * COUNT):
        if running == 4:
            os.wait()
            running -= 1
        fork_and_run(nowhere)
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
    preload.load()
    preload.freeze()
    hugepages.collapse()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for _ in sys.stdin:
        print(json.dumps(measure(nowhere)), flush=True)
