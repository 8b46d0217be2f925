"""Resource limits around the start of a program."""

import resource
import subprocess
import sys

import pytest

from deepmath.sandbox.isolation.rlimits import STACK_BYTES, large_stack

PRINT_LIMIT = "import resource\nprint(resource.getrlimit(resource.RLIMIT_STACK)[0])"


def test_program_started_with_a_large_stack_has_it_and_this_process_keeps_its_own() -> None:
    before = resource.getrlimit(resource.RLIMIT_STACK)
    with large_stack():
        printed = subprocess.run([sys.executable, "-c", PRINT_LIMIT], capture_output=True, text=True, check=True).stdout
    assert resource.getrlimit(resource.RLIMIT_STACK) == before
    allowed = STACK_BYTES if before[1] == resource.RLIM_INFINITY else min(STACK_BYTES, before[1])
    assert int(printed) == allowed


def test_stack_is_restored_if_the_program_cannot_be_started() -> None:
    before = resource.getrlimit(resource.RLIMIT_STACK)
    with pytest.raises(FileNotFoundError), large_stack():
        subprocess.run(["/no/such/program"], check=True)
    assert resource.getrlimit(resource.RLIMIT_STACK) == before
