"""The process that `verifier` starts and may kill: compares answers by math-verify, one at a time.

A program of its own, run by path: it imports math-verify and nothing of ours, and certainly no torch. It reads one
JSON list a line, `[gold, answer]` or, to learn whether it can be parsed, `[gold]`, and writes `[verdict, peak]`: the
verdict, null where the gold answer is no mathematics, and the most memory it ever held in bytes. Its first line says
that it has loaded.

Arguments: seconds that one line may take, and bytes of address space.
"""

import json
import logging
import os
import re
import resource
import signal
import sys

# An unescaped dollar, \( or \[: the text says itself where its mathematics is.
_DELIMITER = re.compile(r"(?<!\\)\$|\\[(\[]")


def main() -> None:
    """Answer until stdin ends."""
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no reply
    from math_verify import parse, verify

    logging.disable(logging.WARNING)  # that it runs without timeouts: this process has one
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the parser's complaints about answers

    def parsed(text: str) -> list[object]:
        found: list[object] = parse(_delimited(text), parsing_timeout=None, fallback_mode="no_fallback")
        return found

    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        # Nobody may be left to kill it: then the alarm does, by its default action, which no computation holds up.
        signal.alarm(seconds)
        gold, *answer = (parsed(text) for text in json.loads(line))
        verdict = None
        if gold:
            verdict = bool(verify(gold, answer[0], timeout_seconds=None)) if answer else True
        signal.alarm(0)
        print(json.dumps([verdict, _peak()]), file=replies, flush=True)


def _peak() -> int:
    """The most bytes in memory so far. `getrusage` would count those of the process that started this one as well."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def _delimited(text: str) -> str:
    """`text` as LaTeX with delimiters: without any, math-verify finds the numbers in it and nothing else."""
    return text if _DELIMITER.search(text) else f"${' '.join(text.split())}$"


if __name__ == "__main__":
    main()
