"""Policy versions: order of updates, segments and unloading. The engine is a list of the loaded versions."""

import asyncio

import pytest
from deepmath_generator.policy_versions import Policy, PolicyVersions

from deepmath.errors import InvalidRequest, Overloaded, WrongOrder


class Loaded(list[int]):
    """The loaded versions."""

    def adapter(self, version: int):
        async def load() -> None:
            self.append(version)

        return Policy(version, str(version), adapter=object()), load

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
