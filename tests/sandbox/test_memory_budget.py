"""The memory budget over generated histories of sandboxes that run, hold memory and end."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmath.sandbox.supervisor.memory_budget import MemoryBudget

MIB = 1 << 20
TOTAL, SNIPPET, INHERITED, SLOTS = 2000 * MIB, 400 * MIB, 100 * MIB, 2
SHARE = SNIPPET + INHERITED


class Holder:
    """A sandbox whose memory the test sets. It dies as soon as it is evicted."""

    def __init__(self, budget: MemoryBudget, owner: str = "") -> None:
        self.started = False
        self.owner: Hashable = owner
        self.alive, self.is_paused = True, False
        self.held_bytes = self.committed_bytes = self.last_used = 0
        self.inherited_bytes = INHERITED
        self._budget = budget
        self._ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        budget.add(self, self._ended)

    def measure_memory(self) -> None:
        pass

    def hold(self, mebibytes: int) -> None:
        self.held_bytes = self.committed_bytes = mebibytes * MIB

    def evict(self) -> None:
        self.alive = False
        self._ended.set_result(None)

    @asynccontextmanager
    async def running(self, limit_bytes: int = SNIPPET) -> AsyncIterator[None]:
        self.started = True
        async with self._budget.running(self, limit_bytes):
            yield

    async def run(self, mebibytes: int, limit_bytes: int = SNIPPET) -> None:
        """Run a snippet after which the sandbox holds so much."""
        async with self.running(limit_bytes):
            self.hold(mebibytes)


def new_budget() -> MemoryBudget:
    return MemoryBudget(TOTAL, slots=SLOTS, snippet_bytes=SNIPPET)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 500)), max_size=60))
def test_idle_sandboxes_never_hold_what_running_snippets_were_promised(steps: list[tuple[int, int]]) -> None:
    async def play() -> None:
        budget = new_budget()
        holders = [Holder(budget) for _ in range(10)]
        for index, mebibytes in steps:
            if not holders[index].alive:
                holders[index] = Holder(budget)
            async with asyncio.timeout(1):
                await holders[index].run(mebibytes)
            await asyncio.sleep(0)
            assert sum(one.committed_bytes for one in holders if one.alive) <= TOTAL - SLOTS * SHARE

    asyncio.run(play())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 1400), st.integers(0, 3)), min_size=1, max_size=12))
def test_every_snippet_runs_and_promises_are_kept(snippets: list[tuple[int, int]]) -> None:
    async def play() -> None:
        budget, promised = new_budget(), []

        async def one(limit: int, turns: int) -> None:
            holder = Holder(budget)
            async with holder.running(limit * MIB):
                promised.append(limit * MIB + INHERITED)
                assert sum(promised) <= TOTAL or len(promised) == 1
                for _ in range(turns):
                    await asyncio.sleep(0)
                promised.remove(limit * MIB + INHERITED)

        async with asyncio.timeout(5):
            await asyncio.gather(*(one(*snippet) for snippet in snippets))

    asyncio.run(play())


async def test_largest_idle_sandbox_is_evicted_first_and_of_equal_ones_the_oldest() -> None:
    budget = new_budget()
    small, large, other = (Holder(budget) for _ in range(3))
    for holder, mebibytes in ((small, 100), (large, 500), (other, 300)):
        await holder.run(mebibytes)
    assert [one.alive for one in (small, large, other)] == [True, True, True]
    last = Holder(budget)
    await last.run(200)
    assert [one.alive for one in (small, large, other, last)] == [True, False, True, True]
    again = [Holder(budget) for _ in range(2)]
    for holder in again:
        await holder.run(300)
    assert [one.alive for one in (small, other, last, *again)] == [True, False, True, True, True]


async def hold_together(budget: MemoryBudget, held: dict[str, list[int]]) -> dict[str, list[Holder]]:
    """Return the sandboxes of each client after snippets that leave them with so many MiB, the clients in turn."""
    holders = {owner: [Holder(budget, owner) for _ in sizes] for owner, sizes in held.items()}
    for owner, sizes in held.items():
        for holder, mebibytes in zip(holders[owner], sizes, strict=True):
            await holder.run(mebibytes)
    return holders


async def test_many_sessions_of_a_client_do_not_drive_out_a_larger_one_of_another() -> None:
    holders = await hold_together(new_budget(), {"one": [300], "many": [150] * 12})
    assert holders["one"][0].alive
    assert sum(one.alive for one in holders["many"]) == 4


async def test_large_session_does_not_drive_out_the_small_ones_of_a_client_that_holds_more_in_all() -> None:
    holders = await hold_together(new_budget(), {"many": [25] * 30, "one": [350]})
    assert all(one.alive for one in holders["many"])
    assert not holders["one"][0].alive


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), min_size=2, max_size=30))
def test_small_sandbox_is_never_evicted(snippets: list[tuple[int, int]]) -> None:
    async def play() -> None:
        budget = new_budget()
        room = (TOTAL - SLOTS * SHARE) / MIB
        holders: list[Holder] = []
        for client, mebibytes in snippets:
            holders.append(Holder(budget, str(client)))
            before = [one for one in holders if one.alive]
            await holders[-1].run(mebibytes)
            evicted = [one.committed_bytes / MIB for one in before if not one.alive]
            assert all(held > min(64, room / len(before)) for held in evicted)

    asyncio.run(play())


async def test_paused_sandboxes_are_evicted_after_idle_ones() -> None:
    budget = new_budget()
    paused, idle, other = (Holder(budget) for _ in range(3))
    for holder, mebibytes in ((paused, 450), (idle, 350), (other, 350)):
        holder.is_paused = holder is paused
        await holder.run(mebibytes)
    assert [one.alive for one in (paused, idle, other)] == [True, False, True]


async def test_large_snippet_evicts_no_small_sandbox() -> None:
    budget = new_budget()
    small = [Holder(budget) for _ in range(9)]
    for holder in small:
        await holder.run(30)
    hog = Holder(budget)
    await hog.run(500)
    async with small[0].running():
        large = asyncio.create_task(Holder(budget).run(0, limit_bytes=1200 * MIB))
        await asyncio.sleep(0.01)
        assert not large.done()
        assert not hog.alive
    await large
    assert all(one.alive for one in small)


async def test_default_snippets_start_at_once_beside_a_large_one() -> None:
    budget = new_budget()
    async with Holder(budget).running(1000 * MIB), asyncio.timeout(0.1), Holder(budget).running():
        pass


@pytest.mark.parametrize(("slots", "fitting"), [(1, 1), (2, 2), (64, 2)])
async def test_slots_and_limits_are_fitted_to_the_memory(slots: int, fitting: int) -> None:
    budget = MemoryBudget(TOTAL, slots=slots, snippet_bytes=SNIPPET)
    Holder(budget)
    budget.slots = budget.fitting_slots()
    assert budget.slots == fitting
    largest = budget.largest_snippet_bytes()
    assert largest == TOTAL - (256 << 20) - (fitting - 1) * SHARE - INHERITED
    async with asyncio.timeout(0.1), Holder(budget).running(largest):
        pass
