"""`python parent_death_signal.py PID COMMAND...`: replaces itself by COMMAND, which gets SIGTERM when parent PID dies.

A program of its own, since no Python code may run between fork and exec in a process with gRPC threads: subprocess's
`preexec_fn` makes gRPC start threads in the child too, and they kill it when their descriptors are closed.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):  # the parent died before prctl
        sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])
