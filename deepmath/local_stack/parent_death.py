"""`python end_with_parent.py PID COMMAND...` becomes COMMAND, which gets SIGTERM when its parent PID dies.

A program, because between fork and exec nothing of ours may run: with threads of gRPC in the parent, Python code there
(subprocess's `preexec_fn`) makes gRPC start threads in the child too, which end it when their descriptors are closed.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):  # too late for the signal
        sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])
