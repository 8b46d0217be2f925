"""The verifier's worker program: compares answers with math-verify, one at a time.

It is a script, run by path. `verifier_process` starts it and may kill it. Input is one JSON list per line, in LaTeX
without delimiters and units: `[gold, answer]` to compare, `[gold]` to test whether the gold answer can be parsed. Output
is `[verdict, peak]`: the verdict, null if the gold answer cannot be parsed, and the peak memory in bytes. The first
output line, `ready`, reports that loading is complete.

Arguments: the time limit for one line in seconds, and the address space in bytes.
"""

import json
import logging
import os
import resource
import signal
import sys

from deepmath.grading.symbolic_comparison import compare


def main() -> None:
    """Serve requests until stdin closes."""
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps what libraries print out of the replies
    import math_verify  # noqa: F401 -- takes seconds, which must not count against the first request

    logging.disable(logging.WARNING)  # math-verify warns that it runs without timeouts
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # parser messages
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        # If orphaned, no parent kills this process: the alarm's default action does, whatever is being computed.
        signal.alarm(seconds)
        verdict = compare(*json.loads(line))
        signal.alarm(0)
        print(json.dumps([verdict, _peak()]), file=replies, flush=True)


def _peak() -> int:
    """Return the peak memory in bytes. `getrusage` would include memory of the parent from before the exec."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
