"""An executor that times the steps of its event loop, for `benchmarks.neighbour_floods`.

`python -m benchmarks.executor_steps FILE OPTIONS...` runs `deepmath_executor OPTIONS...`. From SIGUSR1 on it records
the processor time of each step, which a busy machine does not change, and writes p99 and maximum to FILE at the end.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from deepmath_executor.__main__ import main

_steps: list[float] = []
_run_step = asyncio.events.Handle._run


def _timed(handle: asyncio.events.Handle) -> None:
    start = time.thread_time()
    _run_step(handle)
    _steps.append(1e3 * (time.thread_time() - start))


def run(file: Path, options: list[str]) -> int:
    """Run the executor; return its exit status."""
    asyncio.events.Handle._run = _timed  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, lambda *_: _steps.clear())
    try:
        return main(options)
    finally:
        ordered = sorted(_steps)
        file.write_text(json.dumps({"step_p99_ms": ordered[len(ordered) * 99 // 100], "step_max_ms": ordered[-1]}))


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
