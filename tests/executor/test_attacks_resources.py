"""Resource attacks: memory, processor time, output, and depth of the parser."""

import asyncio

import pytest
from support.attacks import CPU, EXCEPTION, FORGE, MEMORY, OK, OUTPUT, PRELUDE, WALL, is_refused

MEMORY_BYTES = 128 << 20
HOGS = {
    "bytes": "bytes(1 << 40)",
    "list": "x = [0]\nwhile True: x += x",
    "integer_shifted": "1 << (1 << 40)",
    "array": "import numpy\nnumpy.zeros(1 << 40)",
    "arrays_that_are_touched": "import numpy\nx = []\nwhile True: x.append(numpy.ones(1 << 20))",
    "outer_product": "import numpy\nx = numpy.ones(1 << 18)\nnumpy.outer(x, x)",
    "text": "'x' * (1 << 40)",
    "text_by_format": "'%999999999999d' % 1",
    "text_by_width": "f'{1:>{10**12}}'",
    "text_that_doubles": "x = 'ab'\nwhile True: x += x",
    "text_replaced": "('a' * 10**6).replace('a', 'b' * 10**6)",
    "joined": "'x'.join(['y' * 10**6] * 10**6)",
    "bytearray": "x = bytearray()\nwhile True: x.extend(b'x' * 10**6)",
    "generators": "g = iter([1])\nwhile True: g = (x for x in [g, bytes(1 << 16)])",
    "sets": "x = []\nwhile True: x.append(set(range(1000)))",
    "product": "import itertools\nlist(itertools.product(range(1000), repeat=5))",
    "range": "list(range(10 ** 11))",
    "copy_of_itself": "x = [0] * 10**6\nx.append([x[:] for _ in range(10**5)])",
    "break": "libc.sbrk.restype = ctypes.c_long\nwhile libc.sbrk(1 << 24) != -1: pass\nraise MemoryError",
    "decimal": "import decimal\n"
    "decimal.getcontext().prec = 10**18 - 1\n"
    "decimal.getcontext().Emax = 10**18 - 1\n"
    "decimal.Decimal(1) / 3",
    "repr": "class A:\n    def __repr__(self): return 'x' * (1 << 40)\nA()",
    "recursion_of_lists": "x = []\nfor _ in range(10**9): x = [x, bytes(1000)]",
    "zeta": "import mpmath\nmpmath.mp.dps = 10**10\n+mpmath.zeta(3)",
    "power_of_an_integer": "x = 1 << 10**8\nwhile True: x = x << 10**8",
}
# Code that reports exhausted memory as OSError.
MAPS = {
    "map": "load('mmap').mmap(-1, 1 << 40, flags=34)",  # MAP_PRIVATE | MAP_ANONYMOUS
    "sparse_map": "x = []\nwhile True: x.append(load('mmap').mmap(-1, 1 << 24, flags=34))",
    "malloc": "libc.malloc.restype = ctypes.c_void_p\nwhile True: checked(libc.malloc(1 << 20))",
    "grown_map": "m = load('mmap').mmap(-1, 4096, flags=34)\nm.resize(1 << 40)",
}
# Memory that no process is charged for, by the flags of mmap; <asm-generic/mman.h>.
UNCHARGED = {
    "shared": 0x01 | 0x20,
    "shared_validated": 0x03 | 0x20,
    "shared_reserved": 0x01 | 0x20 | 0x4000,
    "shared_huge": 0x01 | 0x20 | 0x40000,
    "private_growing": 0x02 | 0x20 | 0x100,
    "private_huge": 0x02 | 0x20 | 0x40000,
    "shared_huge_of_2_mib": 0x01 | 0x20 | 0x40000 | 21 << 26,
}
FLOODS = {
    "prints": "while True: print('x' * 1000)",
    "writes": "while True: os.write(1, b'x' * 4096)",
    "writes_errors": "while True: os.write(2, b'x' * 4096)",
    "writes_both": "while True: os.write(1, b'x') + os.write(2, b'y' * 4000)",
    "one_line": "print('x' * (9 << 20))",
    "zero_bytes": "while True: os.write(1, bytes(4096))",
    "no_utf8": "while True: os.write(1, b'\\xff' * 4096)",
    "vectors": "while True: os.writev(1, [b'x' * 100] * 1000)",
    "surrogates": "while True: print('\\ud800' * 1000)",
    "libc": "while True: libc.puts(b'x' * 4096)",
}
SPINS = {
    "endless_loop": "while True: pass",
    "catastrophic_expression": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "hard_factorisation": "import sympy\nsympy.factorint(2 ** 521 * (2 ** 607 - 1) + 2 ** 1279 - 1)",
    "power_of_a_power": "10 ** 10 ** 9",
    "endless_hash": "class A:\n    def __hash__(self):\n        while True: pass\n{A()}",
    "conjecture": "n = 27\nwhile n: n = 3 * n + 1 if n % 2 else n // 2",
    "hopeless_integral": "from sympy import *\nx = symbols('x')\nintegrate(exp(sin(x**x)) * sqrt(tan(x)), x)",
    "huge_factorial": "import math\nmath.factorial(10**8)",
    "huge_binomial": "import math\nmath.comb(10**9, 5 * 10**8)",
    "far_prime": "import sympy\nsympy.nextprime(10**4000)",
}
SPINS_WITHIN_C = {
    "text_to_integer": "int('7' * 10 ** 7)",
    "iteration_within_c": "import itertools\nsum(itertools.repeat(1))",
}
# Expressions for code that is hard to parse, and the outcome.
PROGRAMS = {
    "nested_parentheses": ("x = " + "(" * 5000 + ")" * 5000, EXCEPTION),
    "open_braces": ("{" * 3000, EXCEPTION),
    "many_signs": ("x = " + "-" * 100_000 + "1", MEMORY),
    "many_negations": ("x = " + "not " * 20_000 + "1", MEMORY),
    "many_lambdas": ("x = " + "lambda: " * 20_000 + "1", MEMORY),
    "many_powers": ("x = " + "2**" * 20_000 + "1", MEMORY),
    "many_summands": ("x = " + "1+" * 60_000 + "1", EXCEPTION),
    "many_attributes": ("x = a" + ".b" * 60_000, EXCEPTION),
    "many_calls": ("x = a" + "()" * 60_000, EXCEPTION),
    "many_subscripts": ("x = a" + "[0]" * 60_000, EXCEPTION),
    "deep_indentation": ("".join(" " * n + "if 1:\n" for n in range(200)) + " " * 200 + "pass", EXCEPTION),
    "deep_loops": ("".join(" " * n + "for i in x:\n" for n in range(30)) + " " * 30 + "pass", EXCEPTION),
    "many_decorators": ("@a\n" * 60_000 + "def f(): pass", EXCEPTION),
    "many_continued_lines": ("\\\n" * 100_000, EXCEPTION),
    "long_comparison": ("x = " + "1<" * 60_000 + "2", OK),
    "long_number": ("x = " + "9" * 100_000, OK),
    "many_names": ("\n".join(f"x{n}=0" for n in range(20_000)), OK),
    "many_targets": ("x=" * 60_000 + "1", OK),
    "long_display": ("x = [" + "1," * 100_000 + "]", OK),
    "nested_tuples_to_fold": ("x = ((((1,) * 4096,) * 4096,) * 4096,) * 4096", OK),
    "coding_that_is_none": ("# -*- coding: utf-16 -*-\nx = 1", OK),
    "text_that_turns_direction": ("x = '\u202e\u2066'", OK),
}


@pytest.mark.parametrize("name", HOGS)
async def test_snippet_that_exhausts_its_memory_is_out_of_memory(attacker, name):
    result = await attacker.run(HOGS[name], memory_bytes=MEMORY_BYTES)
    assert (result.outcome, result.state_lost) == (MEMORY, False), result
    assert result.usage.peak_memory_bytes < 2.5 * MEMORY_BYTES  # libraries included


@pytest.mark.parametrize("name", MAPS)
async def test_mapping_over_the_memory_limit_is_refused(attacker, name):
    result = await attacker.run(MAPS[name], memory_bytes=MEMORY_BYTES)
    is_refused(result, "OSError")
    assert "Cannot allocate memory" in result.exception.message


@pytest.mark.parametrize("name", UNCHARGED)
async def test_memory_that_no_process_is_charged_for_is_refused(attacker, name):
    code = "libc.mmap.restype = ctypes.c_long\n"
    code += f"checked(libc.mmap(None, ctypes.c_size_t(1 << 21), 3, {UNCHARGED[name]}, -1, ctypes.c_long(0)))"
    is_refused(await attacker.run(code), "OSError", "PermissionError")


async def test_pythons_shared_maps_are_refused(attacker):
    is_refused(await attacker.run("load('mmap').mmap(-1, 4096)"), "PermissionError")


async def test_snippet_that_swallows_memory_errors_reaches_its_time_limit(attacker):
    code = "x = []\nwhile True:\n    try:\n        while True: x.append(bytes(1 << 20))\n    except MemoryError: pass"
    result = await attacker.run(code, memory_bytes=MEMORY_BYTES, cpu_ms=500)
    assert result.outcome == CPU, result
    assert result.usage.peak_memory_bytes < 2.5 * MEMORY_BYTES


@pytest.mark.parametrize("name", FLOODS)
async def test_endless_output_is_cut_off(attacker, name):
    result = await attacker.run(FLOODS[name])
    assert (result.outcome, result.state_lost) == (OUTPUT, True), result
    assert result.dropped_bytes.stdout + result.dropped_bytes.stderr > 7 << 20
    assert max(map(len, (result.stdout, result.stderr))) <= 16 << 10


async def test_endless_single_byte_writes_reach_the_time_limit(attacker):
    result = await attacker.run("while True: os.write(1, b'x')", cpu_ms=300)
    assert result.outcome == CPU, result
    assert set(result.stdout) == {"x"}


@pytest.mark.parametrize("name", SPINS)
async def test_spinning_snippet_is_interrupted_at_the_processor_limit(attacker, name):
    result = await attacker.run(SPINS[name], cpu_ms=200)
    assert (result.outcome, result.state_lost, result.exception.type) == (CPU, False, "TimeoutError"), result


@pytest.mark.parametrize("name", SPINS_WITHIN_C)
async def test_c_code_that_ignores_signals_is_killed_at_the_processor_limit(attacker, name):
    result = await attacker.run(SPINS_WITHIN_C[name], cpu_ms=200)
    assert (result.outcome, result.state_lost) == (CPU, True), result


@pytest.mark.parametrize("name", PROGRAMS)
async def test_code_that_is_hard_to_parse_is_harmless(attacker, name):
    code, outcome = PROGRAMS[name]
    result = await attacker.run(code, prelude="")
    assert (result.outcome, result.state_lost) == (outcome, False), result


async def test_blas_that_starts_too_many_threads_is_killed_at_the_time_limit(attacker):
    code = """
import numpy
folder = os.path.dirname(os.path.dirname(numpy.__file__)) + "/numpy.libs/"
blas = ctypes.CDLL(folder + next(name for name in os.listdir(folder) if "openblas" in name))
blas.scipy_openblas_set_num_threads64_(8)
numpy.ones((300, 300)) @ numpy.ones((300, 300))
"""
    result = await attacker.run(code, wall_ms=500)
    assert (result.outcome, result.state_lost) == (WALL, True), result


async def test_descriptor_limit_is_enforced(attacker):
    result = await attacker.run("keep = [open(os.__file__) for _ in range(100)]")
    is_refused(result, "OSError")
    assert result.exception.message.startswith("[Errno 24]")


async def test_page_tables_of_scattered_mappings_are_out_of_memory(attacker):
    code = """
libc.mmap.restype = ctypes.c_long
libc.mmap.argtypes = [ctypes.c_long] * 6
for at in range(65000):  # two tables for each mapping of one page, a gibibyte apart, which reads the page of zeros
    ctypes.c_char.from_address(checked(libc.mmap((1 << 44) + (at << 30), 4096, 1, 0x100022, -1, 0))).value
"""
    result = await attacker.run(code)
    if attacker.executor.sandboxes_are_cheap:  # a container has a memory limit of its own
        assert (result.outcome, result.state_lost) == (MEMORY, True), result


# What a snippet does two tenths of a second after its answer.
GROWTH = {
    "new_mapping": "checked(libc.mmap(0, 64 << 20, 3, 0x22, -1, 0))",
    "break": "libc.sbrk.restype = ctypes.c_long\nchecked(libc.sbrk(64 << 20))",
}


@pytest.mark.parametrize("name", GROWTH)
async def test_idle_sandbox_cannot_enlarge_its_memory(executor, name):
    code = f"""
libc.mmap.restype = ctypes.c_long
libc.mmap.argtypes = [ctypes.c_long] * 6
forge({{'sequence': 1, 'outcome': 'OK'}})
sleep(0.2)
try:
    {GROWTH[name].replace(chr(10), chr(10) + "    ")}
    grown = True
except OSError:
    grown = False
os.read(3, 1 << 16)
forge({{'sequence': 2, 'outcome': 'OK', 'value': grown, 'dropped': 0}})
sleep(60)
"""
    async with executor.session() as session:
        assert (await session.run(PRELUDE + FORGE + code)).outcome == OK
        await asyncio.sleep(0.4)
        assert (await session.run("")).value == "False"
