"""The same seed and the same snippets give the same results."""

import pytest

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


@pytest.mark.parametrize("code", DRAWS.values(), ids=DRAWS)
async def test_same_seed_gives_the_same_value(executor, code):
    first = await executor.execute(code, seed=11)
    assert first.HasField("value"), first
    assert (await executor.execute(code, seed=11)).value == first.value


@pytest.mark.parametrize("name", ["random", "numpy", "numpy_generator_without_a_seed", "sympy", "scipy", "mpmath"])
async def test_other_seed_gives_another_value(executor, name):
    one, other = [(await executor.execute(DRAWS[name], seed=seed)).value for seed in (1, 2)]
    assert one != other


async def test_seed_is_set_once_and_not_for_every_snippet(executor):
    async with executor.session(seed=3) as session:
        await session.run("import random")
        assert (await session.run("random.random()")).value != (await session.run("random.random()")).value


async def test_seed_of_64_bits_is_taken(executor):
    one, other = [(await executor.execute(DRAWS["random"], seed=seed)).value for seed in (1, 2**64 - 1)]
    assert one != other


async def test_long_integers_can_be_printed(executor):
    assert (await executor.execute("sum(map(int, str(2 ** 100000)))")).value == "135178"
