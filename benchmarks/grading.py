r"""Verdicts per second, and what the sandbox costs.

`python -m benchmarks.grading` compares pairs of three kinds in alternating rounds: by the verifier, and by plain
math-verify in one process without limits or sandbox (`parse` and `verify` as in its README). Both see the same pairs.

    plain      numbers, fractions, percentages, units and words
    symbolic   expressions, sets and equations, half of them unequal
    calculus   sums and integrals, which only a sandbox can compare

It also measures one pair at a time, a batch of 64, and the start of the sandboxes.
Results: benchmarks/results/grading.json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from deepmath.grading.verifier import Verifier

RESULTS = Path(__file__).parent / "results" / "grading.json"
BATCH = 64
Pair = tuple[str, str]


def plain(number: int) -> Iterator[Pair]:
    yield str(number), f"{number}.0"
    yield str(number), str(number + 1)
    yield rf"\frac{{{number}}}{{{number + 2}}}", f"{number}/{number + 2}"
    yield rf"{number}\%", f"{number / 100}"
    yield rf"{number}\text{{ cm}}", f"{number} cm"
    yield f"{number},000", f"{number}000"
    yield r"\text{Yes}", "Yes"
    yield rf"-{number}", str(number)


def symbolic(number: int) -> Iterator[Pair]:
    yield rf"\sqrt{{{4 * number + 4}}}", rf"2\sqrt{{{number + 1}}}"
    yield f"x^2+{number}x+1", f"1+x({number}+x)"
    yield f"x^2+{number}x+1", f"1+x({number}+x)+x"
    yield rf"(1,{number + 2}]\cup[{number + 9},\infty)", rf"1<x\le {number + 2}\text{{ or }}x\ge {number + 9}"
    yield f"y={number}x+3", f"{number}x-y+3=0"
    yield rf"\sin(x+{number})", rf"\sin x\cos {number}+\cos x\sin {number}"
    yield rf"\{{{number},{number + 1}\}}", rf"\{{{number + 1},{number}\}}"
    yield rf"\frac{{\pi}}{{{number + 2}}}+\ln {number + 1}", rf"\frac{{\pi}}{{{number + 2}}}+\ln {number + 2}"


def calculus(number: int) -> Iterator[Pair]:
    yield rf"\sum_{{n=0}}^{{\infty}}\frac{{1}}{{{number + 2}^n}}", rf"\frac{{{number + 2}}}{{{number + 1}}}"
    yield rf"\int_0^{{{number + 1}}} x\,dx", rf"\frac{{{(number + 1) ** 2}}}{{2}}"


KINDS: dict[str, Callable[[int], Iterator[Pair]]] = {"plain": plain, "symbolic": symbolic, "calculus": calculus}


def pairs(kind: str, start: int) -> list[Pair]:
    """Return a batch of pairs; those from another multiple of BATCH are others."""
    found: list[Pair] = []
    for number in range(start, start + BATCH):
        found += KINDS[kind](number)
    return found[:BATCH]


def main(rounds: int) -> dict[str, object]:
    """Return verdicts per second and ratios."""
    rates: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in KINDS}
    workers = len(os.sched_getaffinity(0))
    with Verifier(workers, 5.0) as verifier, baseline() as process:
        started = time.perf_counter()
        verifier.start()
        start_s = time.perf_counter() - started
        for number in range(rounds):
            for kind in KINDS:
                batch = pairs(kind, BATCH * (2 * number + 1))
                rates[kind]["batch"].append(BATCH / seconds(partial(verifier.verify, batch)))
                single = [partial(verifier.verify, [pair]) for pair in pairs(kind, BATCH * (2 * number + 2))]
                rates[kind]["one_at_a_time"].append(BATCH / sum(map(seconds, single)))
                rates[kind]["math_verify"].append(BATCH / request(process, batch))
                print(number, kind, {name: round(rate[-1], 1) for name, rate in rates[kind].items()}, file=sys.stderr)
    medians = {
        kind: {name: round(statistics.median(values), 1) for name, values in found.items()}
        for kind, found in rates.items()
    }
    return {
        "machine": f"{workers} cores, {platform.machine()}, Python {platform.python_version()}",
        "verdicts_per_s": medians,
        "batch_vs_math_verify": {
            kind: round(found["batch"] / found["math_verify"], 2) for kind, found in medians.items()
        },
        "start_s": round(start_s, 2),
    }


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def baseline() -> "subprocess.Popen[str]":
    """Start plain math-verify."""
    command = [sys.executable, "-m", "benchmarks.grading", "--baseline"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def request(process: "subprocess.Popen[str]", batch: list[Pair]) -> float:
    """Return the seconds in which plain math-verify compares `batch`."""
    assert process.stdin
    assert process.stdout
    print(json.dumps(batch), file=process.stdin, flush=True)
    return float(process.stdout.readline())


def serve_baseline() -> None:
    """Compare batches from stdin; print the seconds that each takes."""
    from math_verify import parse, verify

    def compare(gold: str, answer: str) -> None:
        verify(parse(f"${gold}$"), parse(f"${answer}$"))

    compare("1", r"\sqrt{2}")  # loads what the first comparison needs
    for line in sys.stdin:
        batch = json.loads(line)
        took = sum(seconds(partial(compare, *pair)) for pair in batch)
        print(took, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="Alternating rounds.")
    parser.add_argument("--baseline", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.baseline:
        serve_baseline()
    else:
        results = main(options.rounds)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        print(json.dumps(results, indent=2))
