"""Policy versions: order of updates, segments, unloading and runs. The engine is a list of the loaded versions."""

import asyncio

import pytest
from deepmath_generator.policy_versions import Policy, PolicyVersions

from deepmath.errors import InvalidRequest, Overloaded, WrongOrder


class Loaded(list[int]):
    """The loaded versions."""

    def adapter(self, version: int, run: str = ""):
        async def load() -> None:
            self.append(version)

        return Policy(version, str(version), adapter=object(), run=run), load

    async def unload(self, policy: Policy) -> None:
        self.remove(policy.version)


@pytest.fixture
def loaded() -> Loaded:
    return Loaded()


async def test_adapter_waits_until_a_segment_releases_another(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=2)
    await policies.adopt(*loaded.adapter(1))
    async with policies.segment():
        await policies.adopt(*loaded.adapter(2))
        waiting = asyncio.create_task(policies.adopt(*loaded.adapter(3)))
        await asyncio.sleep(0.05)
        assert loaded == [1, 2]
    await waiting
    await asyncio.sleep(0)
    assert (policies.current.version, loaded) == (3, [3])


async def test_adapter_without_room_is_rejected_after_its_patience(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=1, patience_s=0.05)
    await policies.adopt(*loaded.adapter(1))
    with pytest.raises(Overloaded, match="--max-adapters"):
        await policies.adopt(*loaded.adapter(2))


async def test_adapter_that_fails_to_load_leaves_the_current_version(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    await policies.adopt(*loaded.adapter(1))
    policy, load = loaded.adapter(2)

    async def fail_halfway() -> None:
        await load()
        raise InvalidRequest("broken")

    with pytest.raises(InvalidRequest):
        await policies.adopt(policy, fail_halfway)
    await asyncio.sleep(0)
    assert (policies.current.version, policies.versions, loaded) == (1, [0, 1], [1])


async def test_weights_change_while_no_segment_runs_and_new_ones_wait(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    finish = asyncio.Event()
    order: list[str | tuple[str, int]] = []

    async def segment(name: str) -> None:
        async with policies.segment() as policy:
            order.append((name, policy.version))
            await finish.wait()

    async def load() -> None:
        order.append("weights")

    first = asyncio.create_task(segment("first"))
    await asyncio.sleep(0)
    change = asyncio.create_task(policies.replace(Policy(7, "x"), load))
    await asyncio.sleep(0)
    second = asyncio.create_task(segment("second"))
    await asyncio.sleep(0.02)
    assert order == [("first", 0)]
    finish.set()
    await asyncio.gather(first, change, second)
    assert order == [("first", 0), "weights", ("second", 7)]


async def test_update_completes_when_its_caller_is_cancelled(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    policy, load = loaded.adapter(1)

    async def slowly() -> None:
        await asyncio.sleep(0.02)
        await load()

    call = asyncio.create_task(policies.adopt(policy, slowly))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0.05)
    assert policies.current is policy


async def test_older_of_two_concurrent_updates_is_rejected(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    ended = await asyncio.gather(
        *(policies.adopt(*loaded.adapter(version)) for version in (2, 1)), return_exceptions=True
    )
    assert ended[0] is None
    assert isinstance(ended[1], WrongOrder)


async def replace(policies: PolicyVersions, version: int, run: str) -> None:
    async def load() -> None:
        pass

    await policies.replace(Policy(version, f"checkpoint {version}", run=run), load)


def names(policies: PolicyVersions) -> list[tuple[str, int]]:
    return [(policy.run, policy.version) for policy in policies.loaded]


async def test_runs_have_versions_of_their_own(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    for run in ("a", "b"):  # one after the other, and both start at version 1
        for version in (1, 2, 3):
            await policies.adopt(*loaded.adapter(version, run))
    assert names(policies) == [("", 0), ("a", 3), ("b", 3)]
    assert policies.current.run == "b", "calls without a policy get the one that was loaded last"
    with pytest.raises(WrongOrder, match="policy_version 2 of the run a is not new: this generator is at 3"):
        await policies.adopt(*loaded.adapter(2, "a"))


async def test_call_keeps_the_policy_that_it_holds(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    await policies.adopt(*loaded.adapter(1, "a"))
    async with policies.hold("a", 1) as held:
        for version in (2, 3):
            await policies.adopt(*loaded.adapter(version, "a"))
            async with policies.segment(held) as policy:
                assert policy is held
        async with policies.segment() as policy:
            assert policy.version == 3
        assert names(policies) == [("", 0), ("a", 1), ("a", 3)]
    await asyncio.sleep(0)
    assert loaded == [3]


async def test_policy_that_is_not_loaded_is_never_replaced_by_another(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    await policies.adopt(*loaded.adapter(1, "a"))
    for run, version in (("a", 2), ("b", 1), ("", 1)):
        with pytest.raises(WrongOrder, match=r"is not loaded: .* send the policy again"):
            async with policies.hold(run, version):
                pass
    async with policies.hold("b", 0) as policy:
        assert policy.adapter is None


async def test_run_that_needs_room_takes_that_of_an_idle_one_which_may_return(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=2)
    for version in (1, 2, 3):
        for run in ("a", "b", "c"):
            async with asyncio.timeout(5):
                await policies.adopt(*loaded.adapter(version, run))
            assert (policies.current.run, policies.current.version) == (run, version)
            assert len(loaded) <= 2
    assert names(policies) == [("", 0), ("b", 3), ("c", 3)]
    await policies.adopt(*loaded.adapter(3, "a"))  # again: it was unloaded
    async with policies.hold("a", 3):
        pass


async def test_run_takes_no_room_from_one_that_samples(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=2, patience_s=0.05)
    await policies.adopt(*loaded.adapter(1, "a"))
    async with policies.hold("a", 1):
        await policies.adopt(*loaded.adapter(1, "b"))
        with pytest.raises(Overloaded, match="--max-adapters"):
            await policies.adopt(*loaded.adapter(1, "c"))
        assert names(policies) == [("", 0), ("a", 1), ("b", 1)]


async def test_run_that_lost_its_weights_is_rejected_and_a_new_one_restores_the_model(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    await replace(policies, 1, "a")
    await replace(policies, 1, "b")
    for version in (2, 0):
        with pytest.raises(WrongOrder, match="the run a has lost this generator to version 1 of the run b"):
            await replace(policies, version, "a")
    with pytest.raises(WrongOrder, match="instead of the model as loaded"):
        await policies.adopt(*loaded.adapter(1, "c"))
    with pytest.raises(WrongOrder, match="the model as loaded is not loaded"):
        async with policies.hold("c", 0):
            pass
    await replace(policies, 0, "c")
    async with policies.hold("c", 0):
        await policies.adopt(*loaded.adapter(1, "c"))


async def test_weights_wait_for_a_call_that_holds_a_policy_and_lets_its_segments_start(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    async with asyncio.timeout(5), policies.hold("a", 0) as held:
        change = asyncio.create_task(replace(policies, 1, "b"))
        await asyncio.sleep(0)
        async with policies.segment(held) as policy:
            assert policy.version == 0
        assert not change.done()
    await change
    assert names(policies) == [("b", 1)]


async def test_number_of_remembered_runs_is_bounded(loaded) -> None:
    policies = PolicyVersions(loaded.unload, max_adapters=3)
    for number in range(1000):
        async with policies.hold(f"run-{number}", 0):
            pass
    assert len(policies._newest) < 100
