"""A library leaves the process that imports it as it is."""

import subprocess
import sys

import pytest

_PROGRAM = """
import logging, os, signal, sys, threading, warnings

def state():
    loggers = {name: (logger.level, list(logger.handlers)) for name, logger in logging.root.manager.loggerDict.items()
               if isinstance(logger, logging.Logger) and not name.startswith("deepmath")}
    return (dict(os.environ), {number: signal.getsignal(number) for number in signal.valid_signals()},
            (logging.root.level, list(logging.root.handlers)), {n: s for n, s in loggers.items() if any(s)},
            sys.excepthook, sys.stdout, sys.stderr, list(warnings.filters), threading.active_count())

import asyncio, grpc, google.protobuf, opentelemetry.trace, pydantic  # what others do on import is not ours
before = state()
import MODULE
after = state()
assert before == after, [(one, other) for one, other in zip(before, after) if one != other]
"""


@pytest.mark.parametrize("module", ["deepmath", "deepmath.clients", "deepmath.observability.logs"])
def test_import_leaves_environment_signals_and_logging_untouched(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM.replace("MODULE", module)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
