"""Same seed and same snippets give byte-identical results."""

import asyncio

import pytest
from support.executor_process import running

from deepmath.executor.v1 import executor_pb2 as pb

DRAWS = {
    "random": "import random\nrandom.random()",
    "numpy": "import numpy\nnumpy.random.rand()",
    "numpy_generator_without_a_seed": "import numpy\nnumpy.random.default_rng().random()",
    "sympy": "import sympy\nsympy.randprime(1, 10**9), sympy.randMatrix(2)",
    "scipy": "import scipy.stats\nscipy.stats.norm.rvs(size=2)",
    "mpmath": "import mpmath\nmpmath.rand()",
    "hash_order": "set(['a', 'b', 'c', 'd', 'e'])",
    "sympy_order": "import sympy\nx, y = sympy.symbols('x y')\nsympy.expand((x + y) ** 4).args",
}
# A typical session of a model: numbers, sets, hashes, errors, output, refusals, and state that snippets share.
SESSION = [
    "import random, numpy, sympy\nfrom sympy.abc import x, y\nrandom.sample(range(100), 5)",
    "words = {w * 3 for w in 'the order of a set of texts is by their hashes'.split()}\nprint(words)\nhash('text')",
    "table = {frozenset(words): 1, sympy.sqrt(2): 2, (x, y): 3}\ntable",
    "numpy.random.rand(3), numpy.random.default_rng().integers(100, size=3), numpy.random.permutation(5)",
    "sympy.randMatrix(3).det(), sympy.randprime(10**6, 10**7), sorted(map(str, sympy.expand((x + y) ** 3).args))",
    "set(sympy.solve(x**3 - 6*x**2 + 11*x - 6)), sympy.factorint(2**64 + 1), sympy.integrate(sympy.sin(x) ** 2, x)",
    "def f(n):\n    return g(n - 1)\ndef g(n):\n    return 1 / n if n == 0 else f(n)\nf(9)",
    "y = = 1",
    "import os",
    "raise ExceptionGroup('several', [ValueError(repr(words)), KeyError('k')])",
    "numpy.log(0), numpy.linalg.svd(numpy.random.rand(6, 6))[1]",
    "import scipy.optimize\nscipy.optimize.differential_evolution(lambda v: (v[0] - 1) ** 2, [(-5, 5)]).x",
    "bytes(1 << 40)",
    "for n in range(3000): print(n, random.random())",
    "import mpmath\nmpmath.mp.dps = 40\nmpmath.zeta(3), mpmath.rand()",
    "{type(v).__name__ for v in list(globals().values())}, random.random(), list(words)[:2]",
]


async def run_session(executor) -> list[bytes]:
    """Run SESSION and return its serialized results without their usage."""
    results = []
    async with executor.session(seed=2**40 + 7) as session:
        for code in SESSION:
            result = await session.run(code, output_bytes=4096)
            result.ClearField("usage")
            results.append(result.SerializeToString(deterministic=True))
    return results


async def test_repeated_session_is_byte_identical(executor):
    first = await run_session(executor)
    assert await run_session(executor) == first
    outcomes = [pb.SnippetResult.FromString(result).outcome for result in first]
    assert {pb.OUTCOME_OK, pb.OUTCOME_EXCEPTION, pb.OUTCOME_POLICY_VIOLATION, pb.OUTCOME_OUT_OF_MEMORY} == set(outcomes)


async def test_concurrent_sessions_are_byte_identical(executor):
    one, other = await asyncio.gather(run_session(executor), run_session(executor))
    assert one == other


@pytest.mark.slow
async def test_session_is_byte_identical_across_levels_and_processes(tmp_path_factory):
    results = []
    for level in ("full", "pod", "pod"):
        folder, options = tmp_path_factory.mktemp(level), (f"--level={level}", "--waiting-sandboxes=1")
        async with running(folder, *options, preload="maths") as executor:
            results.append(await run_session(executor))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("code", DRAWS.values(), ids=DRAWS)
async def test_same_seed_gives_the_same_value(executor, code):
    first = await executor.execute(code, seed=11)
    assert first.HasField("value"), first
    assert (await executor.execute(code, seed=11)).value == first.value


@pytest.mark.parametrize("name", ["random", "numpy", "numpy_generator_without_a_seed", "sympy", "scipy", "mpmath"])
async def test_different_seeds_give_different_values(executor, name):
    one, other = [(await executor.execute(DRAWS[name], seed=seed)).value for seed in (1, 2)]
    assert one != other


async def test_session_draws_the_same_values_after_its_sandbox_is_replaced(executor):
    async with executor.session(seed=3) as session:
        before = (await session.run(DRAWS["random"])).value
        assert (await session.run("import random\nrandom._os._exit(1)")).state_lost
        assert (await session.run(DRAWS["random"])).value == before


async def test_seed_is_set_once_per_sandbox_and_not_per_snippet(executor):
    async with executor.session(seed=3) as session:
        await session.run("import random")
        assert (await session.run("random.random()")).value != (await session.run("random.random()")).value


async def test_seed_has_64_bits(executor):
    one, other = [(await executor.execute(DRAWS["random"], seed=seed)).value for seed in (1, 2**64 - 1)]
    assert one != other


async def test_long_integers_can_be_printed(executor):
    assert (await executor.execute("sum(map(int, str(2 ** 100000)))")).value == "135178"
