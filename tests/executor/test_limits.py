"""Limits: which values are valid, and their enforcement whatever the snippet does."""

import asyncio

import grpc
import pytest
from support.executor_process import GRACE_MS, LATE_MS

from deepmath.executor.v1 import executor_pb2 as pb

NEEDS_MATHS = False
ENDLESS = {
    "loop": "while True: pass",
    "power_in_c": "10 ** 10 ** 9",
    "catastrophic_regex": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "hard_factorisation": "import sympy\nsympy.factorint(2 ** 521 * (2 ** 607 - 1) + 2 ** 1279 - 1)",
    "hostile_repr": "class A:\n    def __repr__(self):\n        while True: pass\nA()",
}
STUBBORN = {
    "loop_that_catches_everything": "n = 0\nwhile True:\n    try:\n        n = 0\n        while True: n += 1\n"
    "    except BaseException: pass",
    "iteration_in_c": "import itertools\nsum(itertools.repeat(1))",
    "hostile_text_of_an_exception": "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
}


@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
async def test_endless_snippet_is_interrupted_at_the_wall_limit(executor, code):
    result = await executor.execute("print('so far')\n" + code, wall_ms=250)
    assert (result.outcome, result.state_lost, result.exception.type) == (
        pb.OUTCOME_WALL_TIMEOUT,
        False,
        "TimeoutError",
    )
    assert result.stdout == "so far\n"
    assert 250 <= result.usage.wall_ms < 250 + LATE_MS


@pytest.mark.parametrize("code", STUBBORN.values(), ids=STUBBORN)
async def test_snippet_that_ignores_the_timeout_error_is_killed_after_the_grace(executor, code):
    result = await executor.execute("print('so far')\n" + code, wall_ms=250)
    assert (result.outcome, result.state_lost) == (pb.OUTCOME_WALL_TIMEOUT, True)
    assert result.stdout == "so far\n"
    assert 250 + GRACE_MS <= result.usage.wall_ms < 250 + GRACE_MS + LATE_MS


async def test_sleeping_snippet_is_interrupted_at_the_wall_limit(executor):
    result = await executor.execute("import random\nrandom._os.sys.modules['time'].sleep(60)", wall_ms=250)
    assert (result.outcome, result.state_lost) == (pb.OUTCOME_WALL_TIMEOUT, False)
    assert result.usage.wall_ms < 250 + LATE_MS


async def test_computing_snippet_is_interrupted_at_the_processor_limit(executor):
    result = await executor.execute(ENDLESS["loop"], cpu_ms=200, wall_ms=10_000)
    assert (result.outcome, result.state_lost) == (pb.OUTCOME_CPU_TIMEOUT, False)
    assert 200 <= result.usage.cpu_ms < 200 + LATE_MS


async def test_snippet_that_keeps_computing_is_killed_after_the_grace(executor):
    result = await executor.execute(STUBBORN["iteration_in_c"], cpu_ms=200, wall_ms=10_000)
    assert (result.outcome, result.state_lost) == (pb.OUTCOME_CPU_TIMEOUT, True)
    assert 200 <= result.usage.cpu_ms < 200 + GRACE_MS + LATE_MS


async def test_sleep_does_not_count_against_the_processor_limit(executor):
    code = "import random\nrandom._os.sys.modules['time'].sleep(0.5)\n'awake'"
    assert (await executor.execute(code, cpu_ms=200)).value == "'awake'"


async def test_processor_time_of_earlier_snippets_is_not_charged_to_later_ones(executor):
    async with executor.session() as session:
        spin = "import random\nt = random._os.sys.modules['time']\nend = t.process_time() + 0.15\n"
        spin += "while t.process_time() < end: pass"
        outcomes = [(await session.run(spin, cpu_ms=250)).outcome for _ in range(4)]
    assert outcomes == [pb.OUTCOME_OK] * 4


async def test_eight_concurrent_timeouts_all_end_in_time(executor):
    results = await asyncio.gather(*(executor.execute("while True: pass", wall_ms=200) for _ in range(8)))
    assert [result.outcome for result in results] == [pb.OUTCOME_WALL_TIMEOUT] * 8
    assert max(result.usage.wall_ms for result in results) < 200 + LATE_MS


async def test_time_in_the_queue_is_reported_and_not_charged(small_executor):
    code = "import random\nrandom._os.sys.modules['time'].sleep(0.6)"
    results = await asyncio.gather(*(small_executor.execute(code, wall_ms=1000) for _ in range(4)))
    assert [result.outcome for result in results] == [pb.OUTCOME_OK] * 4
    assert max(result.usage.queue_ms for result in results) > 1000
    assert max(result.usage.wall_ms for result in results) < 1000


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_long_output_keeps_head_and_tail_and_counts_the_rest(executor, stream):
    code = f"import random\nprint('<' + 'é' * 50000 + '>', file=random._os.sys.{stream})"
    result = await executor.execute(code, output_bytes=1001)
    text = getattr(result, stream)
    assert (text[0], text[-2:]) == ("<", ">\n")
    assert set(text[1:-2]) == {"é"}
    assert len(text.encode()) <= 1001
    assert len(text.encode()) + getattr(result.dropped_bytes, stream) == 100_003


async def test_long_value_keeps_head_and_tail_and_counts_the_rest(executor):
    result = await executor.execute("'a' + 'b' * 10000 + 'c'", output_bytes=100)
    assert (result.value[:2], result.value[-2:], len(result.value)) == ("'a", "c'", 100)
    assert result.dropped_bytes.value == 10004 - 100


async def test_output_up_to_the_limit_is_complete(executor):
    result = await executor.execute("print('x' * 99)", output_bytes=100)
    assert result.stdout == "x" * 99 + "\n"
    assert result.dropped_bytes == pb.DroppedBytes()


async def test_endless_output_kills_the_snippet(executor):
    result = await executor.execute("while True: print('x' * 1000)")
    assert (result.outcome, result.state_lost) == (pb.OUTCOME_OUTPUT_LIMIT, True)
    assert result.stdout.startswith("xxx")
    assert result.dropped_bytes.stdout > 1 << 20


async def test_output_that_is_not_utf8_is_escaped(executor):
    result = await executor.execute("import random\nrandom._os.write(1, b'a\\xff\\x00\\xc3')")
    assert result.stdout == "a\\udcff\0\\udcc3"


async def test_lone_surrogates_are_escaped(executor):
    result = await executor.execute("print('\\ud800')\nclass A:\n    def __repr__(self): return '\\udfff'\nA()")
    assert (result.stdout, result.value) == ("\\ud800\n", "\\udfff")


@pytest.mark.parametrize("field", ["wall_ms", "cpu_ms", "memory_bytes", "output_bytes"])
@pytest.mark.parametrize("value", [-1, 2**62])
async def test_limit_out_of_bounds_is_rejected_by_name(executor, field, value):
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await executor.execute("1", **{field: value})
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"limits.{field} is {value}" in (failure.value.details() or "")


@pytest.mark.parametrize(("code", "reason"), [("x" * (256 * 1024 + 1), "262144 bytes"), ("1\0", "NUL")])
async def test_code_too_long_or_with_nul_is_rejected(executor, code, reason):
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await executor.execute(code)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason in (failure.value.details() or "")


async def test_code_of_the_maximum_length_runs(executor):
    code = "x = 1 #" + "\x01" * (256 * 1024 - 9) + "\nx"
    assert (await executor.execute(code)).value == "1"
