"""Slots are neither lost nor given twice, whoever leaves when."""

import asyncio
import random

from deepmath_executor.admission import SessionAdmission
from deepmath_executor.caller import Caller
from deepmath_executor.config import ExecutorConfig

ONE = Caller("host", "one")


def gate(**options: object) -> SessionAdmission:
    return SessionAdmission(ExecutorConfig(**options))


async def hold(gate: SessionAdmission, caller: Caller, seconds: float = 0.0) -> None:
    await gate.keep_to_rate(caller)
    async with gate.slot(caller):
        await asyncio.sleep(seconds)


async def test_slot_given_to_a_caller_that_leaves_at_that_moment_goes_to_the_next():
    one_slot = gate(max_running_snippets=1)
    async with one_slot.slot(ONE):
        leaving = asyncio.create_task(hold(one_slot, ONE))
        next_in_line = asyncio.create_task(hold(one_slot, ONE))
        await asyncio.sleep(0)
        assert one_slot.queued == 2
    leaving.cancel()  # it has the slot, and has not heard of it yet
    assert one_slot.running == 1
    await asyncio.wait_for(next_in_line, 1)
    assert leaving.cancelled()
    assert (one_slot.running, one_slot.queued) == (0, 0)


async def test_callers_that_leave_at_random_leave_nothing_behind():
    dice = random.Random(3)
    busy = gate(max_running_snippets=2, max_running_per_client=1, snippets_per_second_per_client=2000, burst=1)
    tasks = []
    for _ in range(300):
        caller = Caller("host", dice.choice("abc"))
        tasks.append(asyncio.create_task(hold(busy, caller, dice.uniform(0, 0.002))))
        await asyncio.sleep(dice.choice([0, 0, 0.001]))
        if dice.random() < 0.5:
            dice.choice(tasks).cancel()
        assert busy.running <= 2
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert (busy.running, busy.queued) == (0, 0)


def test_caller_is_a_name_and_a_host_whatever_its_port():
    class Call:
        def __init__(self, peer: str) -> None:
            self.peer = lambda: peer

        def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
            return (("deepmath-client", "trainer"),)

    callers = {Caller.of(Call(f"ipv4:10.0.0.1:{port}")) for port in (1, 2)}
    assert callers == {Caller("ipv4:10.0.0.1", "trainer")}
    assert Caller.of(Call("ipv6:%5B::1%5D:7")) == Caller("ipv6:%5B::1%5D", "trainer")
    assert Caller.of(Call("unix:")) == Caller("unix", "trainer")
