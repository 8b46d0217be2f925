"""`python service_start.py PID NICENESS COMMAND...`: replaces itself by COMMAND, which gets SIGTERM with PID.

PID is the parent, and SIGTERM comes when it dies. NICENESS is added to that of the process, and is that of its
session's autogroup (sched(7)): between sessions the kernel may regard the latter alone.

A program of its own, since no Python code may run between fork and exec in a process with gRPC threads: subprocess's
`preexec_fn` makes gRPC start threads in the child too, and they kill it when their descriptors are closed.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):  # the parent died before prctl
        sys.exit(1)
    if niceness := int(sys.argv[2]):
        os.nice(niceness)
        with suppress(OSError), open("/proc/self/autogroup", "w") as autogroup:  # not in every kernel
            autogroup.write(str(niceness))
    os.execv(sys.argv[3], sys.argv[3:])
