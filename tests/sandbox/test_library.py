"""The sandbox as a library: a pool of sandboxes in a plain Python program, without gRPC."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deepmath.errors import Unavailable
from deepmath.sandbox import (
    ALLOWED_MODULES,
    MATHS,
    NOTHING,
    PLOT_LIBRARIES,
    PLOTS,
    Limits,
    NativeBackend,
    Outcome,
    PreloadFailed,
    PreloadSet,
    SandboxPool,
)
from deepmath.sandbox.allowed_modules import LIBRARIES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTATION, README = ROOT / "docs" / "sandbox.md", ROOT / "README.md"
OUR_MODULES = """
import random
sorted(name for name in random._os.sys.modules if name.partition(".")[0].startswith("deepmath"))
"""
MAY_BE_INSIDE = r"deepmath(\.rpc|\.rpc\.wire_values|\.sandbox(\.(inside|isolation)(\.\w+)?|\.\w+)?)?"


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[SandboxPool]:
    async with SandboxPool(NativeBackend(preload=NOTHING), limits=Limits(wall_ms=10_000)) as pool:
        yield pool


@pytest.fixture
def run_program(tmp_path: Path):
    """Run a program in an interpreter and a folder of its own and return what it prints."""

    def run(code: str) -> str:
        command = [sys.executable, "-P", "-c", code]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    return run


def documented_examples(page: Path = DOCUMENTATION) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [DOCUMENTATION, README], ids=["documentation", "readme"])
def test_first_documented_example_prints_what_it_says(run_program, page: Path) -> None:
    example, *_ = documented_examples(page)
    expected = re.findall(r"print\(.*\)\s+# (.*)", example)
    assert expected
    assert run_program(example).splitlines() == expected


@pytest.mark.parametrize("number", range(1, len(documented_examples())))
def test_documented_example_runs(run_program, number) -> None:
    run_program(documented_examples()[number])


def test_plain_program_runs_a_snippet_and_loads_neither_grpc_nor_maths(run_program) -> None:
    program = (
        "import asyncio, sys\n"
        "from deepmath.sandbox import NOTHING, NativeBackend, SandboxPool\n"
        "async def main():\n"
        "    async with SandboxPool(NativeBackend(preload=NOTHING)) as pool:\n"
        "        print((await pool.run('6 * 7')).value)\n"
        "asyncio.run(main())\n"
        "print(sorted({'grpc', 'numpy', 'sympy', 'deepmath_executor', 'pydantic'} & set(sys.modules)))\n"
    )
    assert run_program(program) == "42\n[]\n"


def test_import_of_the_library_loads_nothing_but_the_standard_library(run_program) -> None:
    program = (
        "import sys\nbefore = set(sys.modules)\nimport deepmath.sandbox\n"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    assert run_program(program) == "{'deepmath'}\n"


async def test_snippets_of_a_session_share_variables(pool) -> None:
    async with pool.session() as session:
        await session.run("x = 6")
        assert (await session.run("x * 7")).value == "42"


async def test_sessions_share_nothing(pool) -> None:
    async with pool.session() as first, pool.session() as second:
        await first.run("x = 1")
        assert (await second.run("x")).exception.type == "NameError"


@pytest.mark.parametrize(
    ("code", "limits", "outcome"),
    [
        ("print('a')", Limits(), Outcome.OUTCOME_OK),
        ("1 / 0", Limits(), Outcome.OUTCOME_EXCEPTION),
        ("while True: pass", Limits(wall_ms=200), Outcome.OUTCOME_WALL_TIMEOUT),
        ("while True: pass", Limits(cpu_ms=200), Outcome.OUTCOME_CPU_TIMEOUT),
        ("x = bytes(1 << 30)", Limits(memory_bytes=64 << 20), Outcome.OUTCOME_OUT_OF_MEMORY),
        ("while True: print('x' * 10**6)", Limits(), Outcome.OUTCOME_OUTPUT_LIMIT),
        ("import socket", Limits(), Outcome.OUTCOME_POLICY_VIOLATION),
        ("import random\nrandom._os._exit(0)", Limits(), Outcome.OUTCOME_CRASHED),
    ],
    ids=["ok", "exception", "wall", "cpu", "memory", "output", "policy", "crash"],
)
async def test_snippet_ends_with_its_outcome(pool, code, limits, outcome) -> None:
    assert (await pool.run(code, limits)).outcome == outcome


async def test_long_output_is_cut_to_its_limit_and_counted(pool) -> None:
    result = await pool.run("print('x' * 5000, end='')\n'y' * 5000", Limits(output_bytes=100))
    assert (len(result.stdout), result.dropped_bytes.stdout) == (100, 4900)
    assert (len(result.value), result.dropped_bytes.value) == (100, 4902)  # with its quotes


async def test_frame_over_the_limit_crashes_its_sandbox_only(pool) -> None:
    flood = "import random\nrandom._os.write(3, (1 << 30).to_bytes(4, 'big') + b'x' * 100)"
    async with pool.session() as bystander:
        await bystander.run("x = 1")
        result = await pool.run(flood)
        assert (result.outcome, result.state_lost) == (Outcome.OUTCOME_CRASHED, True)
        assert (await bystander.run("x")).value == "1"


async def test_session_gets_a_new_sandbox_after_its_state_is_lost(pool) -> None:
    async with pool.session() as session:
        assert (await session.run("import random\nx = random._os._exit(0)")).state_lost
        assert (await session.run("x")).exception.type == "NameError"


async def test_same_seed_gives_the_same_random_numbers(pool) -> None:
    code = "import random\nrandom.random(), random.Random().random()"
    values = [(await pool.run(code, seed=seed)).value for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


async def test_sandboxes_without_preload_hold_no_library(pool) -> None:
    assert pool.versions.keys() == {"python"}
    assert (await pool.run("import random\n'numpy' in random._os.sys.modules")).value == "False"


async def test_library_that_is_not_preloaded_can_be_imported(pool) -> None:
    assert (await pool.run("import mpmath\nmpmath.mpf(2)")).value == "mpf('2.0')"


async def test_hostile_process_holds_its_own_modules_and_the_shared_ones_only(pool) -> None:
    names = (await pool.run(OUR_MODULES)).value
    found = re.findall(r"'(.*?)'", names)
    assert "deepmath.sandbox.inside.runner" in found
    assert [name for name in found if not re.fullmatch(MAY_BE_INSIDE, name)] == []


async def test_custom_preload_set_is_loaded_warmed_up_and_seeded() -> None:
    preload = PreloadSet(("numpy.random", "colorsys"), warm_up="import colorsys\ncolorsys.warm = True")
    backend = NativeBackend(preload=preload, allowed_modules=("numpy", "colorsys"))
    async with SandboxPool(backend) as pool:
        assert pool.versions.keys() == {"python", "numpy"}
        assert (await pool.run("import colorsys\ncolorsys.warm")).value == "True"
        draws = {(await pool.run("import numpy\nnumpy.random.random()", seed=5)).value for _ in range(2)}
        assert len(draws) == 1
        refused = await pool.run("import math")
        assert refused.outcome == Outcome.OUTCOME_POLICY_VIOLATION
        assert "allowed modules: colorsys, numpy" in refused.exception.message


async def test_preloaded_package_may_lie_outside_the_python_installation() -> None:
    backend = NativeBackend(preload=PreloadSet(("deepmath.exit_codes",)), allowed_modules=("deepmath",))
    async with SandboxPool(backend) as pool:
        result = await pool.run("import deepmath.exit_codes\ndeepmath.exit_codes.__name__")
        assert result.value == "'deepmath.exit_codes'", result


async def test_pool_starts_where_no_module_may_be_imported() -> None:
    async with SandboxPool(NativeBackend(preload=NOTHING, allowed_modules=())) as pool:
        assert (await pool.run("1 + 1")).value == "2"
        assert "allowed modules: none" in (await pool.run("import math")).exception.message


async def test_missing_module_of_the_preload_set_is_reported(capfd) -> None:
    with pytest.raises(PreloadFailed, match=r"no_such_module.*; install it for the sandboxes"):
        async with SandboxPool(NativeBackend(preload=PreloadSet(("no_such_module",)))):
            pass


async def test_missing_layer_refuses_the_required_level() -> None:
    with pytest.raises(Unavailable, match=r"isolation level 'full' is not available here: no .*network_namespace"):
        async with SandboxPool(NativeBackend("pod", NOTHING), required_level="full"):
            pass


async def test_level_pod_meets_its_own_requirement() -> None:
    async with SandboxPool(NativeBackend("pod", NOTHING), required_level="pod") as pool:
        assert (await pool.run("1 + 1")).value == "2"


def test_default_preload_set_may_be_imported_by_snippets() -> None:
    packages = {name.partition(".")[0] for name in MATHS.modules} - sys.stdlib_module_names
    assert packages == set(LIBRARIES) <= set(ALLOWED_MODULES)
    packages = {name.partition(".")[0] for name in PLOTS.modules} - sys.stdlib_module_names
    assert packages <= {*LIBRARIES, *PLOT_LIBRARIES}


def test_unknown_name_is_an_attribute_error() -> None:
    import deepmath.sandbox

    with pytest.raises(AttributeError, match="no attribute 'Sandboxes'"):
        _ = deepmath.sandbox.Sandboxes
