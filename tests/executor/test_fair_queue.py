"""Turn order of the fair queue."""

from collections import Counter

from deepmath_executor.fair_queue import FairQueue
from hypothesis import given
from hypothesis import strategies as st


def order(queue: FairQueue[str, str]) -> list[str]:
    """Run all queued items in the last free slot, one after the other, and return their order."""
    ran = []
    while item := queue.pop():
        ran.append(item)
        queue.finish(item[0])
    return ran


def filled(*items: str, slots: int = 1, per_caller: int = 0) -> FairQueue[str, str]:
    """Return a queue of `items`, each named after its caller and its position among that caller's items."""
    queue = FairQueue[str, str](slots, per_caller)
    for item in items:
        queue.push(item[0], item)
    return queue


def test_items_of_one_caller_run_in_arrival_order():
    assert order(filled("a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_callers_take_turns_however_many_items_they_have():
    assert order(filled("a1", "a2", "a3", "b1", "b2", "c1")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_new_caller_waits_for_one_turn_of_each_other():
    queue = filled("a1", "a2", "a3", "b1", "b2")
    assert queue.pop() == "a1"
    queue.push("c", "c1")
    queue.finish("a")
    assert order(queue) == ["b1", "a2", "c1", "b2", "a3"]


def test_no_more_items_run_than_there_are_slots():
    queue = filled("a1", "b1", "c1", slots=2)
    assert [queue.pop(), queue.pop(), queue.pop()] == ["a1", "b1", None]
    queue.finish("a")
    assert queue.pop() == "c1"


def test_caller_at_its_limit_is_skipped_until_one_of_its_items_finishes():
    queue = filled("a1", "a2", "b1", slots=3, per_caller=1)
    assert [queue.pop(), queue.pop(), queue.pop()] == ["a1", "b1", None]
    queue.finish("a")
    assert queue.pop() == "a2"


def test_withdrawn_item_never_runs():
    queue = filled("a1", "a2", "b1")
    queue.withdraw("a", "a1")
    queue.withdraw("b", "b1")
    assert order(queue) == ["a2"]
    assert queue.queued == 0


callers = st.sampled_from("abcd")
steps = st.lists(st.one_of(st.tuples(st.just("push"), callers), st.tuples(st.just("finish"), callers)), max_size=60)


@given(steps=steps, slots=st.integers(1, 3), per_caller=st.integers(0, 2))
def test_slots_are_limited_and_never_idle_and_every_item_runs_once(steps, slots, per_caller):
    queue = FairQueue[str, int](slots, per_caller)
    running: Counter[str] = Counter()
    owner: dict[int, str] = {}
    ran: list[int] = []

    def pop_all() -> None:
        while (item := queue.pop()) is not None:
            ran.append(item)
            running[owner[item]] += 1

    for step, caller in steps:
        if step == "push":
            owner[len(owner)] = caller
            queue.push(caller, len(owner) - 1)
        elif running[caller]:
            running[caller] -= 1
            queue.finish(caller)
        pop_all()
        waiting = {owner[item] for item in owner if item not in ran}
        assert queue.running == running.total() <= slots
        assert queue.queued == len(owner) - len(ran)
        assert max(running.values(), default=0) <= (per_caller or slots)
        assert running.total() == slots or all(per_caller and running[caller] == per_caller for caller in waiting)
    while running.total():
        caller = next(caller for caller in running if running[caller])
        running[caller] -= 1
        queue.finish(caller)
        pop_all()
    assert sorted(ran) == sorted(owner)
