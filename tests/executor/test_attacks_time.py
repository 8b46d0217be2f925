"""Attacks on time limits: outliving them, swallowing or forging the TimeoutError, charging other sessions."""

import asyncio

import pytest
from support.attacks import CPU, CRASHED, FORGE, OK, PRELUDE, VIOLATION, WALL, is_refused
from support.executor_process import GRACE_MS, LATE_MS

WALL_MS = 120
WAITS = {
    "sleeps": "load('time').sleep(60)",
    "selects_nothing": "load('select').select([], [], [], 60)",
    "polls_nothing": "load('select').poll().poll(60000)",
    "reads_what_is_for_the_runner": "os.read(3, 100)",
    "waits_for_its_own_lock": "l = load('_thread').allocate_lock()\nl.acquire()\nl.acquire()",
    "waits_for_an_empty_queue": "load('queue').SimpleQueue().get()",
    "waits_for_a_futex": "w = ctypes.c_uint32(0)\ncall(202, ctypes.byref(w), 128, 0, None, None, 0)",
    "sleeps_within_c": "libc.sleep(60)",
    "loops_in_repr": "class A:\n    def __repr__(self):\n        while True: pass\nA()",
    "loops_in_eq": "class A:\n"
    "    __hash__ = lambda s: 1\n"
    "    def __eq__(self, o):\n"
    "        while True: pass\n"
    "{A(): 1, A(): 2}",
    "loops_in_the_exception_hook": "sys.excepthook = lambda *a: exec('while True: pass')\nwhile True: pass",
    "traces_itself": "def t(*a): return t\nsys.settrace(t)\nwhile True: pass",
    "loops_in_a_profiler": "sys.setprofile(lambda *a: exec('while True: pass'))\nprint(1)",
    "loops_in_a_comparison": "class K:\n    def __lt__(s, o):\n        while True: pass\nsorted([K(), K()])",
    "loops_in_an_import": "hang = lambda *_: [0 for _ in iter(int, 1)]\n"
    "sys.meta_path.insert(0, type('Finder', (), {'find_spec': hang}))\n"
    "import sympy.attack",
    "loops_in_a_key": "import functools\n"
    "sorted(range(100), key=functools.cmp_to_key(lambda a, b: [0 for _ in iter(int, 1)]))",
    "loops_in_its_stdout": "class S:\n"
    "    def write(self, t):\n"
    "        while True: pass\n"
    "    def flush(self):\n"
    "        while True: pass\n"
    "sys.stdout = S()\n"
    "print(1)",
}
# Python 3.11 attributes an exception raised at the end of a loop to before its first line. So a `try` must not start
# with the loop, or a signal may arrive outside of the `try`.
STUBBORN = {
    "catches_everything": "while True:\n"
    "    try:\n"
    "        n = 0\n"
    "        while True: n += 1\n"
    "    except BaseException: pass",
    "swallows_in_a_context": "class C:\n"
    "    def __enter__(s): return s\n"
    "    def __exit__(s, *a): return True\n"
    "while True:\n"
    "    with C():\n"
    "        while True: pass",
    "loops_in_the_text_of_its_exception": "class E(Exception):\n"
    "    def __str__(self):\n"
    "        while True: pass\n"
    "raise E",
    "blocks_the_alarm_while_it_polls": "checked(libc.ppoll(0, 0, b'\\x3c' + bytes(15), b'\\xff' * 8))",
    "disarms_the_alarm": "load('deepmath.sandbox.inside.soft_timeout').SoftTimeout.armed = False\nwhile True: pass",
    "empties_the_handler": "r = load('deepmath.sandbox.inside.soft_timeout')\n"
    "r.handle_alarm.__code__ = (lambda *_: None).__code__\n"
    "while True: pass",
    "catches_in_front_of_an_expression": "import re\n"
    "while True:\n"
    "    try: re.match('(a+)+$', 'a' * 60 + 'b')\n"
    "    except TimeoutError: pass",
    "catches_in_a_hash": "class A:\n"
    "    def __hash__(self):\n"
    "        try:\n"
    "            n = 0\n"
    "            while True: n += 1\n"
    "        except BaseException: return 1\n"
    "while True: {A()}",
    "catches_in_a_coroutine": "async def f():\n"
    "    while True:\n"
    "        try:\n"
    "            n = 0\n"
    "            while True: n += 1\n"
    "        except BaseException: pass\n"
    "f().send(None)",
    "catches_and_prints": "while True:\n"
    "    try:\n"
    "        n = 0\n"
    "        while True: print('x', end='')\n"
    "    except BaseException: pass",
}
ENDLESS = "n = 0\nwhile True: n += 1"
ON_TIMEOUT = "try:\n    n = 0\n    while True: n += 1\nexcept TimeoutError:\n    "


@pytest.mark.parametrize("name", WAITS)
async def test_waiting_snippet_gets_a_timeout_error_and_keeps_its_state(attacker, name):
    result = await attacker.run(WAITS[name], wall_ms=WALL_MS)
    assert (result.outcome, result.state_lost, result.exception.type) == (WALL, False, "TimeoutError"), result


@pytest.mark.parametrize("name", STUBBORN)
async def test_snippet_that_swallows_the_timeout_error_is_killed(attacker, name):
    result = await attacker.run(STUBBORN[name], wall_ms=WALL_MS)
    assert (result.outcome, result.state_lost) == (WALL, True), result
    assert result.usage.wall_ms < WALL_MS + GRACE_MS + LATE_MS


# Code that handles its TimeoutError, and the exception type reported; the outcome is a timeout all the same.
HANDLERS = {
    "prints": ("print('caught')", ""),
    "raises_another": ("1 / 0", "ZeroDivisionError"),
    "ends": ("raise SystemExit(0)", "SystemExit"),
    "takes_memory": ("bytes(1 << 40)", "MemoryError"),
    "imports": ("import os", "ImportError"),
    "raises_it_again": ("raise", "TimeoutError"),
}


@pytest.mark.parametrize("name", HANDLERS)
async def test_snippet_that_handles_its_timeout_error_has_timed_out(attacker, name):
    code, kind = HANDLERS[name]
    result = await attacker.run(ON_TIMEOUT + code, wall_ms=WALL_MS)
    assert (result.outcome, result.state_lost, result.exception.type) == (WALL, False, kind), result


async def test_timeout_error_raised_by_the_snippet_is_an_exception(attacker):
    is_refused(await attacker.run("raise TimeoutError('mine')"), "TimeoutError")


@pytest.mark.parametrize(
    ("code", "outcome"), [("os._exit(0)", CRASHED), ("os.kill(1, 9)", VIOLATION), ("ctypes.string_at(0)", CRASHED)]
)
async def test_snippet_that_dies_within_the_grace_gets_that_outcome(attacker, code, outcome):
    result = await attacker.run(ON_TIMEOUT + code, wall_ms=WALL_MS)
    assert (result.outcome, result.state_lost) == (outcome, True), result


async def test_variables_and_output_before_the_timeout_are_kept(executor):
    async with executor.session() as session:
        late = await session.run(f"kept = 41\nprint('so far')\n{ENDLESS}", wall_ms=WALL_MS)
        assert (late.outcome, late.state_lost, late.stdout) == (WALL, False, "so far\n")
        assert (await session.run("kept + 1")).value == "42"


async def test_output_before_the_kill_is_kept(executor):
    code = "print('so far')\n" + STUBBORN["catches_everything"].replace("pass", "print('no')")
    result = await executor.execute(code, wall_ms=WALL_MS)
    assert (result.outcome, result.state_lost) == (WALL, True)
    assert result.stdout.startswith("so far\nno\n")


async def test_traceback_of_a_timeout_shows_only_the_snippets_own_lines(executor):
    trace = (await executor.execute(ENDLESS, wall_ms=WALL_MS)).exception.traceback
    assert '  File "<snippet 1>", line 2, in <module>\n' in trace
    assert trace.count("File") == 1


async def test_result_forged_after_the_timeout_gains_no_more_than_the_grace(executor, bystander):
    code = ON_TIMEOUT + "forge({'sequence': 1, 'outcome': 'OK'})\n    sleep(60)"
    result = await executor.execute(PRELUDE + FORGE + code, wall_ms=WALL_MS)
    assert (result.outcome, result.state_lost) == (OK, False)
    assert result.usage.wall_ms < WALL_MS + GRACE_MS + LATE_MS
    await bystander.is_unharmed()


@pytest.mark.parametrize(("limit", "clock"), [("wall_ms", "perf_counter"), ("cpu_ms", "process_time")])
async def test_alarm_at_the_end_of_a_snippet_does_not_affect_the_next(executor, limit, clock):
    async with executor.session() as session:
        await session.run(f"import random\nclock = random._os.sys.modules['time'].{clock}\ncount = 0")
        ends = set()
        for repeat in range(120 if executor.sandboxes_are_cheap else 40):
            busy = f"end = clock() + {0.006 + repeat % 13 * 5e-4}\nwhile clock() < end: pass\n'done'"
            ended = await session.run(busy, **{limit: 10})
            ends.add(ended.outcome)
            after = await session.run("count += 1\ncount", wall_ms=5000)
            assert (after.outcome, after.value, after.stderr) == (OK, str(repeat + 1), ""), (ended, after)
        assert ends <= {OK, WALL, CPU}
        assert len(ends) == 2, "the limit is nowhere near the run time"


async def test_timeouts_are_not_charged_to_another_session(executor):
    async def late() -> None:
        async with executor.session() as session:
            assert (await session.run(ENDLESS, wall_ms=WALL_MS)).outcome == WALL

    async with executor.session() as honest:
        hostile = asyncio.gather(*(late() for _ in range(4)))
        results = [await honest.run(f"{n} * 2", wall_ms=5000) for n in range(20)]
        await hostile
    assert [result.value for result in results] == [str(2 * n) for n in range(20)]


async def test_time_limit_is_not_extended_by_the_next_snippet(executor):
    async with executor.session() as session:
        await session.send(ENDLESS, sequence=1, wall_ms=WALL_MS)
        await session.send("'next'", sequence=2, wall_ms=60_000)
        first, second = [(await session.read()).result for _ in range(2)]
        assert (first.outcome, second.value) == (WALL, "'next'")
        assert first.usage.wall_ms < WALL_MS + GRACE_MS + LATE_MS


async def test_snippet_that_does_not_read_its_next_request_is_killed_at_the_wall_limit(executor):
    async with executor.session() as session:
        code = "forge({'sequence': 1, 'outcome': 'OK'})\nsleep(60)"
        assert (await session.run(PRELUDE + FORGE + code)).outcome == OK
        result = await session.run("#" + "x" * 262_000, wall_ms=WALL_MS)  # more than its socket buffer
        assert (result.outcome, result.state_lost) == (CRASHED, True) or result.outcome == WALL, result
        assert (await session.run("1 + 1")).value == "2"
