"""Preflight results equal those of a sandbox."""

import random
import warnings
from collections.abc import AsyncIterator

import pytest
from deepmath_executor.preflight import MAX_BYTES, predicts_errors_of, preflight_result
from support.executor_process import Executor, Session, running

from deepmath.executor.v1 import executor_pb2 as pb

OUTPUT_BYTES = 16 << 10
SYNTAX_ERRORS = [
    "x = 1\ny = = 2",
    "def f(:\n    pass",
    "print 'hello'",
    "print(1",
    "x = (1,\n     2\ny = 3",
    "for i in range(3)\n    print(i)",
    "for i in range(3):\nprint(i)",
    "if x:\n\ty = 1\n        z = 2",
    "if x:\n    y = 1\n  z = 2",
    "x = 'never closed",
    'x = """never closed\n\n',
    "x = 5 % % 3",
    "2x = 3",
    "x = 08",
    "f(a for a in b, c)",
    "f(a=1, 2)",
    "x + 1 = 2",
    "None = 1",
    "f'{x'",
    "f'{}'",
    "f'{a b}'",
    "x = “quoted”",
    "x²",
    "π = = 3",
    "x = 1 \\ 2",
    "'\\N{no such character}'",
    "'\\x1'",
    "b'é'",
    "(" * 201 + ")" * 201,
    "".join(" " * depth + "if x:\n" for depth in range(80)),
    "match x:\n    case 1 +: pass",
    "try:\n    x\nprint()",
    "<think>\nLet x be 1.\n</think>",
    "```python\nprint(1)\n```",
    "x = 1\r\ny = = 2\r\n",
    "\ufeffx = = 1",
    "x = 1\x0c\ny = = 2",
    "\x01",
    "import os\nx = = 1",
]
DISALLOWED_IMPORTS = [
    "import os",
    "import os.path",
    "import os as o, sys",
    "from os import path",
    "from os.path import (\n    join,\n    sep,\n)",
    "import subprocess; subprocess.run('ls')",
    "  \n# comment\n'text'\npass\nimport os  # at last\nprint('never')",
    "import os\nprint(len('é'))",
    "'é'; import os",
    "import numpyy\nx = 2 * 3\nprint(x)",
]
DISALLOWED_AFTER_ALLOWED_IMPORTS = [
    "import sympy as sp\nimport os",
    "import math, random\nfrom numpy import *\nimport requests as r",
]
UNDECIDABLE = [
    "",
    "1 / 0",
    "import math",
    "x = 5\nimport os",
    "print('first')\nimport os",
    "if True:\n    import os",
    "try:\n    import os\nexcept ImportError:\n    print('caught')",
    "def f():\n    import os\nf()",
    "import math, os",
    "import math.nothing, os",
    "from math import nothing\nimport os",
    "from . import os",
    "from .os import path",
    "from __future__ import annotations\nimport os",
    "import os\nfrom __future__ import annotations",
    "import os\nreturn 1",
    "import os\nx = 1 is 1",
    "import os\nf = 5(3)",
    "return 5",
    "x = 1\nyield x",
    "def f(a, a): pass",
    "nonlocal x",
    "from __future__ import braces",
    "'\\d'",
    "'\\d'\nx = = 1",
    "9" * 5000 + " % 97",
    "x = = 1  #" + "x" * MAX_BYTES,
    "not " * 900 + "x",
    "-" * 3000 + "1",
    "x" + ".x" * 1500,
    "x = " + "lambda: " * 300 + "0",
]
ORDINARY = """
import sympy as sp
from itertools import product

x, y = sp.symbols("x y", integer=True)
solutions = []
for a, b in product(range(1, 50), repeat=2):
    if a * b - a - b == 10 and sp.gcd(a, b) == 1:
        solutions.append((a, b))
print(f"found {len(solutions)}: {solutions[0]!r:>{10}}")
total = sum(a + b for a, b in solutions) if solutions else None
"""


@pytest.fixture(scope="module")
async def reference(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor without preflight."""
    options = ("--no-preflight", "--waiting-sandboxes=2")
    async with running(tmp_path_factory.mktemp("reference"), *options, preload="maths") as executor:
        yield executor


@pytest.fixture(scope="module")
async def reference_session(reference) -> AsyncIterator[Session]:
    async with reference.session() as session:
        yield session


@pytest.fixture(scope="module")
async def single_slot(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor with one slot for running snippets."""
    options = ("--max-running-snippets=1", "--waiting-sandboxes=2")
    async with running(tmp_path_factory.mktemp("single_slot"), *options) as executor:
        yield executor


def without_usage(result: pb.SnippetResult) -> pb.SnippetResult:
    same = pb.SnippetResult()
    same.CopyFrom(result)
    same.ClearField("usage")
    same.dropped_bytes.SetInParent()  # zeros or unset
    return same


@pytest.mark.parametrize("code", SYNTAX_ERRORS + DISALLOWED_IMPORTS)
async def test_refused_snippet_in_a_session_has_the_result_of_the_sandbox(reference_session, code):
    ran = await reference_session.run(code)
    refused = preflight_result(code, ran.sequence, OUTPUT_BYTES, alone=False)
    assert refused is not None
    assert without_usage(refused) == without_usage(ran)


@pytest.mark.parametrize("code", SYNTAX_ERRORS + DISALLOWED_IMPORTS + DISALLOWED_AFTER_ALLOWED_IMPORTS)
async def test_refused_execution_has_the_result_of_the_sandbox(reference, code):
    refused = preflight_result(code, 1, OUTPUT_BYTES, alone=True)
    assert refused is not None
    assert without_usage(refused) == without_usage(await reference.execute(code))


@pytest.mark.parametrize("code", UNDECIDABLE)
def test_doubtful_snippet_is_left_to_the_sandbox(code):
    assert preflight_result(code, 1, OUTPUT_BYTES, alone=True) is None


@pytest.mark.parametrize("code", DISALLOWED_AFTER_ALLOWED_IMPORTS)
def test_import_before_a_refused_one_is_left_to_the_sandbox_in_a_session(code):
    assert preflight_result(code, 1, OUTPUT_BYTES, alone=False) is None


@pytest.mark.parametrize("limit", [1, 2, 10, 100])
async def test_refused_result_is_truncated_to_the_output_limit(reference, limit):
    code = "x = (" + "é" * 300
    refused = preflight_result(code, 1, limit, alone=True)
    assert refused is not None
    assert without_usage(refused) == without_usage(await reference.execute(code, output_bytes=limit))


async def test_damaged_code_is_refused_with_the_result_of_the_sandbox_or_not_at_all(reference):
    choose = random.Random(7)
    refusals = 0
    for _ in range(300):
        start, length = choose.randrange(len(ORDINARY)), choose.randrange(1, 4)
        code = ORDINARY[:start] + choose.choice(["", "", "(", "'", "=", "\n", " "]) + ORDINARY[start + length :]
        if refused := preflight_result(code, 1, OUTPUT_BYTES, alone=True):
            refusals += 1
            assert without_usage(refused) == without_usage(await reference.execute(code)), code
    assert refusals > 100


@pytest.mark.parametrize(
    "unit", ["(", "[", "{", "f(", "a[", "-", "~", "not ", "lambda:", "a if a else ", "a.", "a**", "a<"]
)
@pytest.mark.parametrize("end", ["", "a", "a b", ")"])
def test_deeply_nested_code_does_not_harm_the_supervisor(unit, end):
    for length in (MAX_BYTES, MAX_BYTES * 50):
        preflight_result(unit * ((length - len(end)) // len(unit)) + end, 1, OUTPUT_BYTES, alone=True)
    assert preflight_result("import os", 1, OUTPUT_BYTES, alone=True) is not None


@pytest.mark.parametrize("code", ["x = 1 is 1", "'\\d'", "assert (x, 'always')", "import os\nx = 1 is 1"])
def test_compiler_warnings_are_not_shown_by_preflight(code, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        preflight_result(code, 1, OUTPUT_BYTES, alone=True)
    assert (caught, capfd.readouterr().err) == ([], "")


def test_no_file_is_read_for_an_error_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "<snippet 1>").write_text("a secret of the server\n")
    assert "secret" not in str(preflight_result("x = (", 1, OUTPUT_BYTES, alone=True))


def test_preflight_is_off_for_another_python_release():
    assert not predicts_errors_of({"python": "3.11.99"})


async def test_refused_execution_uses_no_sandbox(single_slot):
    await single_slot.until(lambda load: load.waiting_sandboxes == 2)
    before = single_slot.sandboxes()
    assert (await single_slot.execute("import os")).outcome == pb.OUTCOME_POLICY_VIOLATION
    assert (await single_slot.execute("x = = 1")).exception.type == "SyntaxError"
    assert single_slot.sandboxes() == before


async def test_refused_snippet_does_not_wait_for_a_slot(single_slot):
    async with single_slot.session() as busy, single_slot.session() as session:
        await busy.send("while True: pass", sequence=1)
        await single_slot.until(lambda load: load.running_snippets == 1)
        assert (await session.run("x = = 1")).exception.type == "SyntaxError"
        assert (await single_slot.load()).running_snippets == 1


async def test_refused_snippet_counts_in_the_sequence_of_its_session(single_slot):
    async with single_slot.session() as session:
        await session.run("x = 1")
        refused = await session.run("y = = 2")
        await session.send("y = 2", sequence=2)
        assert (await session.read()).result == refused
        assert (refused.sequence, refused.state_lost) == (2, False)
        assert (await session.run("x + 1")).value == "2"


async def test_session_that_starts_with_a_refused_snippet_is_seeded(single_slot):
    async def draw(*before: str) -> str:
        async with single_slot.session(seed=5) as session:
            for code in before:
                await session.run(code)
            return (await session.run("import random\nrandom.random()")).value

    assert await draw("x = = 1") == await draw()


async def test_refused_snippets_count_against_the_rate_limit(tmp_path):
    options = ("--waiting-sandboxes=1", "--snippets-per-second-per-client=5", "--burst=1")
    async with running(tmp_path, *options) as executor, executor.session() as session:
        await session.run("x = = 1")
        assert (await session.run("x = = 1")).usage.queue_ms > 100
