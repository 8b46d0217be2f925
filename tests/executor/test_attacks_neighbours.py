"""Attacks on other sessions: slowing, reading or confusing them, or leaving data for later ones."""

import asyncio
from pathlib import Path

import pytest
from support.attacks import CPU, MEMORY, OK, OUTPUT, PRELUDE, WALL

# Behaviour of noisy neighbours, and the outcome of each.
NOISE = {
    "spinning": ("while True: pass", {"cpu_ms": 300}, CPU),
    "sleeping": ("sys.modules['time'].sleep(60)", {"wall_ms": 300}, WALL),
    "taking_memory": ("x = []\nwhile True: x.append(bytes(1 << 20))", {"memory_bytes": 64 << 20}, MEMORY),
    "printing": ("while True: print('x' * 1000)", {}, OUTPUT),
    "printing_rubbish": ("while True: os.write(1, b'\\xff' * 65536)", {}, OUTPUT),
}


@pytest.mark.parametrize("name", NOISE)
async def test_noisy_neighbours_cost_time_but_nothing_else(executor, bystander, name):
    code, limits, outcome = NOISE[name]
    noise = asyncio.gather(*(executor.execute(PRELUDE + code, **limits) for _ in range(4)))
    async with executor.session() as session:
        results = [await session.run(f"print({n})\n{n} ** 2", wall_ms=10_000) for n in range(10)]
    assert [(result.stdout, result.value) for result in results] == [(f"{n}\n", str(n * n)) for n in range(10)]
    assert {result.outcome for result in await noise} == {outcome}
    await bystander.is_unharmed()


async def test_concurrent_outputs_are_not_mixed(executor):
    async def write(letter: str) -> None:
        result = await executor.execute(f"for _ in range(2000): print({letter!r} * 5)")
        assert (set(result.stdout), result.outcome) == ({letter, "\n"}, OK)

    await asyncio.gather(*map(write, "abcdefgh" if executor.sandboxes_are_cheap else "abc"))


async def test_concurrent_values_are_not_mixed(executor):
    async def ask(number: int) -> None:
        async with executor.session(seed=number) as session:
            await session.run(f"x = {number}")
            for step in range(5):
                assert (await session.run(f"x * 100 + {step}")).value == str(number * 100 + step)

    await asyncio.gather(*map(ask, range(8 if executor.sandboxes_are_cheap else 3)))


async def test_session_killed_by_an_attack_leaves_its_neighbours_their_variables(executor):
    async with executor.session() as one, executor.session() as other:
        await one.run("x = 1")
        await other.run("x = 2")
        assert (await one.run(PRELUDE + "os.kill(os.getppid(), 9)")).state_lost
        assert (await other.run("x")).value == "2"


async def test_memory_contains_nothing_of_earlier_sessions(executor):
    mark = "b'left behind ' + b'by another'"
    await executor.execute(PRELUDE + f"keep = [bytearray({mark}) for _ in range(10**5)]")
    search = f"""
g = load("gc")
g.collect()
[o for o in g.get_objects() if isinstance(o, (bytes, bytearray)) and o == {mark}]
"""
    assert (await executor.execute(PRELUDE + search)).value == "[]"


async def test_new_memory_is_zeroed(executor):
    await executor.execute("import numpy\nnumpy.full(10**7, 7.0).sum()")
    assert (await executor.execute("import numpy\nnumpy.empty(10**7).any()")).value in ("np.False_", "False")


async def test_random_state_is_not_shared(executor):
    async def draw() -> str:
        return (await executor.execute("import random\nrandom.random()", seed=5)).value

    first = await draw()
    await executor.execute("import random\n[random.random() for _ in range(1000)]\nrandom.seed(1)", seed=5)
    assert await draw() == first


async def sandboxes(executor, sessions: int) -> list[int]:
    """Return the process ids of all sandboxes: of so many sessions, and one waiting."""
    await executor.until(lambda load: (load.live_sessions, load.waiting_sandboxes) == (sessions, 1))
    async with asyncio.timeout(10):
        while len(living := [p for p in executor.sandboxes() if descriptors(p)]) != sessions + 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # killed ones may still be exiting
    return living


def descriptors(pid: int) -> dict[str, str]:
    """Return the target of each descriptor of a process."""
    try:
        return {path.name: str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return {}


def maps(pid: int) -> list[str]:
    """Return the permissions of each memory mapping of a process."""
    return [line.split()[1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]


async def test_sandboxes_share_no_writable_memory(small_executor):
    async with small_executor.session():
        observed = [access for pid in await sandboxes(small_executor, 1) for access in maps(pid)]
    assert len(observed) > 100
    assert [access for access in observed if access.startswith("rw") and access.endswith("s")] == []


async def test_no_memory_is_writable_and_executable(small_executor):
    async with small_executor.session() as session:
        await session.run("import numpy, scipy, sympy")
        observed = [access for pid in await sandboxes(small_executor, 1) for access in maps(pid)]
    assert [access for access in observed if "w" in access and "x" in access] == []


async def test_sandbox_holds_only_its_own_four_descriptors(small_executor):
    async with small_executor.session():
        for pid in await sandboxes(small_executor, 1):
            assert sorted(descriptors(pid)) == ["0", "1", "2", "3"]


async def test_sandboxes_share_no_pipe_or_socket(small_executor):
    async with small_executor.session(), small_executor.session():
        observed = [descriptors(pid) for pid in await sandboxes(small_executor, 2)]
    ends = [end for each in observed for number, end in each.items() if number != "0"]  # the null device
    assert len(ends) == 9
    assert len(set(ends)) == 9
