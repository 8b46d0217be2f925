"""Snippet slots are neither lost nor assigned twice, whenever callers are cancelled."""

import asyncio
import random

from deepmath_executor.admission import SessionAdmission
from deepmath_executor.caller import Caller
from deepmath_executor.config import ExecutorConfig

ONE = Caller("host", "one")


async def hold(admission: SessionAdmission, caller: Caller, seconds: float = 0.0) -> None:
    await admission.throttle(caller)
    async with admission.slots.hold(caller):
        await asyncio.sleep(seconds)


async def test_slot_assigned_to_a_caller_cancelled_at_that_moment_goes_to_the_next():
    admission = SessionAdmission(ExecutorConfig(max_running_snippets=1))
    slots = admission.slots
    async with slots.hold(ONE):
        cancelled = asyncio.create_task(hold(admission, ONE))
        next_in_line = asyncio.create_task(hold(admission, ONE))
        await asyncio.sleep(0)
        assert slots.queued == 2
    cancelled.cancel()  # it was assigned the slot but has not resumed yet
    assert slots.running == 1
    await asyncio.wait_for(next_in_line, 1)
    assert cancelled.cancelled()
    assert (slots.running, slots.queued) == (0, 0)


async def test_callers_cancelled_at_random_leak_no_slot():
    choose = random.Random(3)
    config = ExecutorConfig(
        max_running_snippets=2, max_running_per_client=1, snippets_per_second_per_client=2000, burst=1
    )
    admission = SessionAdmission(config)
    slots = admission.slots
    tasks = []
    for _ in range(300):
        caller = Caller("host", choose.choice("abc"))
        tasks.append(asyncio.create_task(hold(admission, caller, choose.uniform(0, 0.002))))
        await asyncio.sleep(choose.choice([0, 0, 0.001]))
        if choose.random() < 0.5:
            choose.choice(tasks).cancel()
        assert slots.running <= 2
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert (slots.running, slots.queued) == (0, 0)
