"""Programs as models write them: exits, standard streams, deep recursion, modules that only compute."""

import subprocess
import sys

import pytest

from deepmath.executor.v1 import executor_pb2 as pb

PROGRAMS = {
    "main": """
def main():
    print(6 * 7)
if __name__ == "__main__":
    main()
""",
    "main_that_exits": """
import sys
def main():
    print(1)
    return 0
sys.exit(main())
""",
    "writes_to_stdout": """
import sys
sys.stdout.write("a")
sys.stdout.flush()
print("b", flush=True)
""",
    "redirects_and_restores": """
import io, sys
sys.stdout = kept = io.StringIO()
print("in")
sys.stdout = sys.__stdout__
print(kept.getvalue() + "out")
""",
    "redirects_in_a_block": """
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as kept:
    print("in")
print(kept.getvalue())
""",
    "parses_no_arguments": """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=5)
print(parser.parse_args().n, len(sys.argv))
""",
    "measures_time": """
import time, timeit
start = time.perf_counter()
print(time.perf_counter() >= start, timeit.timeit("1", number=1) >= 0)
""",
    "raises_the_recursion_limit": """
import sys
sys.setrecursionlimit(10**6)
def f(n):
    return n and 1 + f(n - 1)
print(f(50_000))
""",
    "raises_the_limit_of_digits": """
import sys
sys.set_int_max_str_digits(10**6)
print(len(str(10**20_000)))
""",
    "lowers_the_limit_of_digits": """
import sys
sys.set_int_max_str_digits(640)
try:
    print(str(10**20_000))
except ValueError as error:
    print(error)
""",
    "uses_types": """
from __future__ import annotations
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import List, NamedTuple, Optional
@dataclass(order=True)
class Point:
    x: int
    tags: Optional[List[str]] = field(default=None, compare=False)
class Colour(Enum):
    RED = auto()
class Pair(NamedTuple):
    a: int
    b: int
print(Point(1) < Point(2), Colour.RED, Pair(1, 2), Point(3, ["x"]))
""",
    "searches_a_graph": """
import bisect, copy, heapq, operator, queue
import networkx as nx
g = nx.Graph()
g.add_weighted_edges_from([(1, 2, 3), (2, 3, 4), (1, 3, 9)])
print(nx.shortest_path(g, 1, 3, weight="weight"), nx.minimum_spanning_tree(g).size("weight"))
q = queue.PriorityQueue()
for item in copy.copy([3, 1, 2]):
    q.put(item)
print(q.get(), heapq.nsmallest(2, [3, 1, 2]), bisect.bisect([1, 3], 2), operator.itemgetter(1)("ab"))
""",
    "reads_and_writes_text": """
import json, textwrap, unicodedata, string, csv, io
print(json.dumps({"a": [1, 2.5, None]}, indent=1), unicodedata.name("x"), string.ascii_lowercase[:3])
print(textwrap.fill("a b c " * 9, 12), list(csv.reader(io.StringIO("1,2\\n3,4"))))
""",
    "tests_itself": '''
import doctest
def f():
    """
    >>> f()
    1
    """
    return 1
print(doctest.testmod())
''',
}
# Each recursion passes through C, whose stack is limited.
DEEP = {
    "function": "def f(n): return f(n + 1)\nf(0)",
    "cached": "import functools\n@functools.cache\ndef f(n): return f(n + 1)\nf(0)",
    "sorted": "def f(n): return sorted([n, n], key=f)\nf(0)",
    "operator": "class A:\n    def __add__(self, o): return A() + o\nA() + 1",
    "repr": "class A:\n    def __repr__(self): return repr([A()])\nrepr(A())",
    "class": "class A:\n    def __init__(self): A()\nA()",
    "generator": "def f(): yield from f()\nlist(f())",
    "numpy": "import numpy as np\ndef f(n): return np.frompyfunc(f, 1, 1)(np.array([n], object))\nf(0)",
    "scipy": "from scipy.integrate import quad\ndef f(x): return quad(f, 0, 1)[0]\nf(0)",
    "json": "import json\nx = []\nfor _ in range(10**6): x = [x]\njson.dumps(x)",
    "copy": "import copy\nx = []\nfor _ in range(10**6): x = [x]\ncopy.deepcopy(x)",
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_program_prints_what_it_prints_in_python(executor, name):
    plain = subprocess.run(  # noqa: ASYNC221 - a moment
        [sys.executable, "-c", PROGRAMS[name]], capture_output=True, text=True, check=True
    )
    result = await executor.execute(PROGRAMS[name])
    assert (result.outcome, result.stdout, result.stderr) == (pb.OUTCOME_OK, plain.stdout, ""), result


@pytest.mark.parametrize("code", ["import sys\nsys.exit()", "exit()", "quit(0)", "raise SystemExit", "exit(False)"])
async def test_exit_without_an_error_ends_the_snippet(executor, code):
    async with executor.session() as session:
        result = await session.run(f"x = 41\nprint('before')\n{code}\nprint('after')")
        assert (result.outcome, result.stdout, result.HasField("value")) == (pb.OUTCOME_OK, "before\n", False)
        assert (await session.run("x")).value == "41"


@pytest.mark.parametrize(("code", "message"), [("sys.exit(1)", "1"), ("sys.exit('no solution')", "no solution")])
async def test_exit_with_an_error_is_an_exception(executor, code, message):
    result = await executor.execute(f"import sys\n{code}")
    assert (result.outcome, result.exception.type) == (pb.OUTCOME_EXCEPTION, "SystemExit")
    assert result.exception.message == message


@pytest.mark.parametrize("name", DEEP)
async def test_endless_recursion_under_a_high_limit_is_a_recursion_error(executor, name):
    async with executor.session() as session:
        await session.run("keepsake = 41")
        result = await session.run(f"import sys\nsys.setrecursionlimit(10**6)\n{DEEP[name]}")
        assert (result.outcome, result.exception.type) == (pb.OUTCOME_EXCEPTION, "RecursionError"), result
        if sys.version_info < (3, 12):
            note = "The recursion limit of a snippet is at most 102400. Write a loop instead."
            assert note in result.exception.traceback
        assert (await session.run("keepsake")).value == "41"


async def test_recursion_within_the_limit_has_no_note(executor):
    result = await executor.execute("def f(): f()\nf()")
    assert result.exception.type == "RecursionError"
    assert "recursion limit of a snippet" not in result.exception.traceback


async def test_raised_recursion_limit_stays_for_the_next_snippet(executor):
    async with executor.session() as session:
        await session.run("import sys\nsys.setrecursionlimit(5000)")
        assert (await session.run("def f(n): return n and f(n - 1)\nf(4000)")).value == "0"


@pytest.mark.parametrize("limit", [0, -1, 2.5])
async def test_invalid_recursion_limit_is_refused(executor, limit):
    result = await executor.execute(f"import sys\nsys.setrecursionlimit({limit})")
    assert result.exception.type in ("ValueError", "TypeError"), result


async def test_sleep_ends_at_the_wall_limit(executor):
    result = await executor.execute("import time\ntime.sleep(60)", wall_ms=200)
    assert (result.outcome, result.state_lost, result.exception.type) == (
        pb.OUTCOME_WALL_TIMEOUT,
        False,
        "TimeoutError",
    )
