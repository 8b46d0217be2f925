"""Processes that run the build program of the embedded model on a tiny one."""

import multiprocessing
import os
import sys
from collections.abc import Iterable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

BUILD = Path(__file__).resolve().parents[2] / "models" / "tiny-math" / "build"
TINY = {
    **{"count": 120, "steps": 12, "tokens-per-step": 900, "micro-batch-tokens": 300, "warm-up-steps": 2, "layers": 1},
    **{"hidden": 16, "intermediate": 24, "heads": 2, "kv-heads": 1, "head-dim": 8},
    **{"score-every": 4, "report-every": 1, "checkpoint-seconds": 0},
}

# The imports that take long are done once, in the server that the processes are forked from.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["torch", "sympy", "transformers.models.qwen3.modeling_qwen3", "deepmath.clients", "deepmath_generator.tool_output"]
)


def start_build(output: Path, log: Path, *more: str, **changed: object) -> ForkServerProcess:
    """Start a build into `output` with its work folder beside it; what it prints goes to the end of `log`."""
    options = TINY | {name.replace("_", "-"): value for name, value in changed.items()}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    paths = [f"--output={output}", f"--work={output.with_name('work')}"]
    process = _FORKS.Process(target=_run, args=([*arguments, *paths, *more], str(log)))
    process.start()
    return process


def finish(process: ForkServerProcess) -> int | None:
    """Return the exit status of the process, negative if a signal ended it; None after four minutes."""
    process.join(240)
    return process.exitcode


def _run(arguments: Iterable[str], log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.path.insert(0, str(BUILD))
    sys.argv = ["build", *arguments]
    from build_command import main

    main()
