"""Outcomes of snippets and the contents of their results."""

import pytest

from deepmath.executor.v1 import executor_pb2 as pb

FROM_OS = "import random\nos = random._os\n"  # bypasses the import allow-list, which is not an isolation layer


async def test_completed_snippet_is_ok(executor):
    result = await executor.execute("print(6 * 7)")
    assert (result.sequence, result.outcome, result.stdout) == (1, pb.OUTCOME_OK, "42\n")
    assert not result.state_lost


async def test_traceback_shows_only_the_snippets_own_lines(executor):
    result = await executor.execute("import numpy\ndef f(m):\n    return numpy.linalg.inv(m)\nf(numpy.zeros((2, 2)))")
    assert result.outcome == pb.OUTCOME_EXCEPTION
    assert (result.exception.type, result.exception.message) == ("numpy.linalg.LinAlgError", "Singular matrix")
    assert result.exception.traceback == (
        "Traceback (most recent call last):\n"
        '  File "<snippet 1>", line 4, in <module>\n    f(numpy.zeros((2, 2)))\n'
        '  File "<snippet 1>", line 3, in f\n    return numpy.linalg.inv(m)\n           ^^^^^^^^^^^^^^^^^^^\n'
        "numpy.linalg.LinAlgError: Singular matrix\n"
    )


async def test_breakpoint_is_ignored(executor):
    assert (await executor.execute("breakpoint()\n1 + 1")).value == "2"


async def test_chained_exceptions_show_no_server_path(executor):
    code = "import sympy\ntry: sympy.sympify('1 +')\nexcept Exception as error: raise ValueError('no') from error"
    trace = (await executor.execute(code)).exception.traceback
    assert "direct cause" in trace
    assert "site-packages" not in trace
    assert "/services/" not in trace


async def test_syntax_error_points_at_its_position(executor):
    result = await executor.execute("x = 1\ny = = 2")
    assert (result.outcome, result.exception.type) == (pb.OUTCOME_EXCEPTION, "SyntaxError")
    assert '  File "<snippet 1>", line 2\n    y = = 2\n        ^\n' in result.exception.traceback


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("raise SystemExit(1)", "SystemExit"),
        ("exit('the search failed')", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def f(): f()\nf()", "RecursionError"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("class Mine(Exception): pass\nraise Mine", "Mine"),
        ("raise ExceptionGroup('several', [ValueError(), TypeError()])", "ExceptionGroup"),
    ],
)
async def test_session_survives_an_exception_of_any_kind(executor, code, kind):
    async with executor.session() as session:
        result = await session.run(code)
        assert (result.outcome, result.exception.type) == (pb.OUTCOME_EXCEPTION, kind)
        assert (await session.run("1")).value == "1"


async def test_deep_recursion_has_a_short_traceback(executor):
    code = FROM_OS + "os.sys.setrecursionlimit(100000)\ndef f(n):\n    return f(n + 1) if n < 20000 else 1 / 0\nf(0)"
    assert len((await executor.execute(code)).exception.traceback) < 16 << 10


async def test_memory_error_keeps_the_variables(executor):
    async with executor.session() as session:
        result = await session.run("x = 1\nbig = bytes(1 << 40)")
        assert (result.outcome, result.exception.type) == (pb.OUTCOME_OUT_OF_MEMORY, "MemoryError")
        assert not result.state_lost
        assert (await session.run("x")).value == "1"


async def test_session_can_free_its_exhausted_memory(executor):
    async with executor.session() as session:
        filled = await session.run("hoard = []\nwhile True: hoard.append(bytes(1 << 20))", memory_bytes=64 << 20)
        assert filled.outcome == pb.OUTCOME_OUT_OF_MEMORY
        await session.run("hoard.clear()", memory_bytes=64 << 20)
        assert (await session.run("len(bytes(32 << 20))", memory_bytes=64 << 20)).value == str(32 << 20)


@pytest.mark.parametrize(("allowed_mib", "outcome"), [(300, pb.OUTCOME_OK), (200, pb.OUTCOME_OUT_OF_MEMORY)])
async def test_memory_limit_is_the_requested_one(executor, allowed_mib, outcome):
    code = "import numpy\nnumpy.ones((256 << 20) // 8).sum()"
    assert (await executor.execute(code, memory_bytes=allowed_mib << 20)).outcome == outcome


async def test_memory_limit_applies_per_snippet(executor):
    async with executor.session() as session:
        code = "len(bytes(100 << 20))"
        outcomes = [(await session.run(code, memory_bytes=mib << 20)).outcome for mib in (200, 50, 200)]
    assert outcomes == [pb.OUTCOME_OK, pb.OUTCOME_OUT_OF_MEMORY, pb.OUTCOME_OK]


async def test_refused_import_says_why_and_what_to_do_instead(executor):
    async with executor.session() as session:
        result = await session.run("x = 1\nimport os.path")
        assert result.outcome == pb.OUTCOME_POLICY_VIOLATION
        assert result.exception.type == "ImportError"
        assert result.exception.message == (
            "module 'os' may not be imported here: a snippet has no files and no environment; assign the data in the "
            "code, and print the result"
        )
        assert not result.state_lost
        assert (await session.run("x")).value == "1"


async def test_caught_import_refusal_is_not_a_violation(executor):
    result = await executor.execute("try:\n    import os\nexcept ImportError:\n    print('caught')")
    assert (result.outcome, result.stdout) == (pb.OUTCOME_OK, "caught\n")


async def test_every_allowed_module_can_be_imported(executor):
    info = await executor.stub.GetInfo(pb.GetInfoRequest())
    result = await executor.execute("\n".join(f"import {name}" for name in info.allowed_modules))
    assert result.outcome == pb.OUTCOME_OK, result


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("datetime.datetime.strptime('2024-02-29', '%Y-%m-%d').day", "29"),
        ("datetime.date(2024, 2, 29).strftime('%A')", "'Thursday'"),
        ("f'{datetime.date(2024, 2, 29):%j}'", "'060'"),
        ("datetime.date(2024, 2, 29).timetuple().tm_yday", "60"),
        ("datetime.date.today() > datetime.date(2024, 2, 29)", "True"),
    ],
)
async def test_allowed_module_whose_c_code_imports_others_works(executor, expression, value):
    assert (await executor.execute(f"import datetime\n{expression}")).value == value


async def test_libraries_may_import_any_module(executor):
    code = "from __future__ import annotations\nimport scipy.cluster.hierarchy, sympy.physics.units, numpy.ctypeslib"
    assert (await executor.execute(code)).outcome == pb.OUTCOME_OK


@pytest.mark.parametrize("death", ["os._exit(0)", "os.abort()", "os.sys.modules['ctypes'].string_at(0)"])
async def test_dead_interpreter_is_a_crash(executor, death):
    result = await executor.execute(f"{FROM_OS}print('last words')\n{death}")
    assert (result.outcome, result.state_lost) == (pb.OUTCOME_CRASHED, True)
    assert result.stdout == "last words\n"


async def test_usage_is_measured(executor):
    result = await executor.execute("import numpy\nnumpy.ones(10**7).sum()")
    usage = result.usage
    assert 0 < usage.cpu_ms <= usage.wall_ms + 20
    assert usage.peak_memory_bytes > 80_000_000 + 50_000_000  # the array and the libraries


async def test_sleep_costs_wall_time_and_no_processor_time(executor):
    usage = (await executor.execute("import random\nrandom._os.sys.modules['time'].sleep(0.3)")).usage
    assert usage.wall_ms >= 300
    assert usage.cpu_ms < 100
