"""The process that `verifier` starts and may kill: compares answers by math-verify, one at a time.

A program of its own, run by path: it imports math-verify and nothing of ours, and certainly no torch. It reads one
JSON list a line, `[gold, answer]` or, to learn whether it can be parsed, `[gold]`, in LaTeX without delimiters and
units, and writes `[verdict, peak]`: the verdict, null where the gold answer is no mathematics, and the most memory it
ever held in bytes. Its first line says that it has loaded.

Where math-verify takes what differs for equal, this tells it apart: a wrong answer that passes does more harm than a
right one that does not. See `_parsed`, and `_compare` for what else it does not do.

Arguments: seconds that one line may take, and bytes of address space.
"""

import json
import logging
import os
import re
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

# Two numbers side by side are neither product nor sum, though they are to math-verify; but \frac 1 2 and \log_2 8.
_SIDE_BY_SIDE = re.compile(r"(?<!frac)(?<!frac\s)(?<![\d_^])\d+\s+\d")
# x \in [0,1] says no more than [0,1], and \{x \mid x>0\} no more than x>0.
_MEMBER = re.compile(
    r"\s*[A-Za-z]\s*\\in(?![A-Za-z])(.*)|\s*\\\{\s*[A-Za-z]\s*(?:[|:]|\\mid(?![A-Za-z]))(.*)\\\}\s*", re.DOTALL
)
_RATIO = re.compile(r"[^:(){}]+(?::[^:(){}]+){2,}")
_BRACES = re.compile(r"\s*\\\{.*\\\}\s*", re.DOTALL)


def main() -> None:
    """Answer until stdin ends."""
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no reply
    import math_verify  # noqa: F401 -- takes seconds, which are not those of the first answer

    logging.disable(logging.WARNING)  # that it runs without timeouts: this process has one
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the parser's complaints about answers
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        # Nobody may be left to kill it: then the alarm does, by its default action, which no computation holds up.
        signal.alarm(seconds)
        verdict = _compare(*json.loads(line))
        signal.alarm(0)
        print(json.dumps([verdict, _peak()]), file=replies, flush=True)


def _peak() -> int:
    """The most bytes in memory so far. `getrusage` would count those of the process that started this one as well."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def _compare(gold: str, answer: str | None = None) -> bool | None:
    from math_verify import verify

    right = _parsed(gold)
    if right is None or answer is None:
        return None if right is None else True
    given = _parsed(answer)
    if given is None:
        return False
    if not verify(right, given, allow_set_relation_comp=True, timeout_seconds=None):
        return _same_solutions(right, given)
    return not (
        _mixed_up(gold, right, given)
        or _mixed_up(answer, given, right)
        or _small_and_apart(right, given)
        or _unsolved_and_apart(right, given)
    )


def _parsed(text: str) -> Any:
    """What `text` says, or None where it is no mathematics.

    Only by math-verify's LaTeX: from what it cannot parse its other way takes the first number. And without its
    units, because they are letters too: 2t would be 2.
    """
    from math_verify import LatexExtractionConfig, parse
    from sympy import I, Symbol

    if member := _MEMBER.fullmatch(text):
        text = member[1] or member[2]
    if _RATIO.fullmatch(text):
        text = f"({text.replace(':', ',')})"  # 2:1:3 is no quotient
    text = " ".join(text.split())
    if _SIDE_BY_SIDE.search(text):
        return None
    latex = LatexExtractionConfig()
    latex = replace(latex, normalization_config=replace(latex.normalization_config, units=False))
    found: list[Any] = parse(f"${text}$", [latex], fallback_mode="no_fallback", parsing_timeout=None)
    if not found:
        return None
    # To it i is a variable like any other, but one that makes all of them other variables than they are elsewhere.
    symbols = {
        symbol: I if symbol.name == "i" else Symbol(symbol.name, real=True)
        for symbol in getattr(found[0], "free_symbols", ())
        if symbol.name == "i" or not symbol.is_real
    }
    with suppress(Exception):
        return found[0].subs(symbols) if symbols else found[0]
    return found[0]


def _mixed_up(text: str, value: Any, other: Any) -> bool:
    r"""Whether `text` is a set and `other` is none: \{1,2\} and (1,2)."""
    from sympy import FiniteSet, Interval, Tuple

    return (
        isinstance(value, FiniteSet)
        and len(value.args) > 1
        and isinstance(other, Interval | Tuple)
        and bool(_BRACES.fullmatch(text))
    )


def _small_and_apart(right: Any, given: Any) -> bool:
    """Whether these are different numbers that are one at six places."""
    with suppress(Exception):
        gold, answer = abs(complex(right)), abs(complex(right) - complex(given))
        return gold < 0.01 and answer > gold / 10_000
    return False  # they are no numbers


def _unsolved_and_apart(right: Any, given: Any) -> bool:
    """Whether these are different equations that are one only because nothing solves them: x^2=-1 and x^2=-4."""
    from math_verify import verify
    from sympy import Eq, solve

    if not (isinstance(right, Eq) and isinstance(given, Eq)) or right == given:
        return False
    with suppress(Exception):
        if not right.free_symbols and not given.free_symbols:
            return not verify(right.rhs, given.rhs, timeout_seconds=None)
        if solve(right, right.free_symbols):
            return False
        ours, theirs = right.lhs - right.rhs, given.lhs - given.rhs
        return not verify([ours, -ours], theirs, timeout_seconds=None)
    return True


def _same_solutions(right: Any, given: Any) -> bool:
    """Whether both are inequalities in one variable that are true for the same numbers."""
    from sympy import And, Eq, Intersection
    from sympy.core.relational import Relational

    solutions = []
    for value in (right, given):
        parts = value.args if isinstance(value, And) else (value,)
        if not all(isinstance(part, Relational) and not isinstance(part, Eq) for part in parts):
            return False
        solutions.append(parts)
    if right.free_symbols != given.free_symbols or len(right.free_symbols) != 1:
        return False
    with suppress(Exception):
        one, other = (Intersection(*(part.as_set() for part in parts)) for parts in solutions)
        return bool(one == other)
    return False


if __name__ == "__main__":
    main()
