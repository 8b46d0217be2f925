"""Sessions of the gateway: owners, ids, quotas, ends."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from deepmath_gateway.owned_session import SessionEnded, SnippetCall, UnknownSession
from deepmath_gateway.session_manager import SessionLimits, SessionManager

from deepmath.clients import ExecutorClient
from deepmath.errors import InvalidRequest, Overloaded
from deepmath.executor.v1 import executor_pb2 as pb

ENDLESS = "while True: pass"


def snippet(code: str, deadline_s: float = 30.0, **limits: int) -> SnippetCall:
    return SnippetCall(code, pb.Limits(**limits), deadline_s)


Managed = Callable[..., SessionManager]


@pytest.fixture
async def managed(gateway_executor_client: ExecutorClient) -> AsyncIterator[Managed]:
    """Make managers that end with the test."""
    made: list[SessionManager] = []

    def make(**limits) -> SessionManager:
        made.append(SessionManager(gateway_executor_client, SessionLimits(**limits)))
        return made[-1]

    yield make
    for manager in made:
        await manager.__aexit__()


async def test_only_the_owner_finds_a_session(managed: Managed) -> None:
    manager = managed()
    session = manager.open("alice", "p")
    await session.run(snippet("x = 1"))
    assert manager.find("alice", "p", session.key.session_id) is session
    for owner, protocol, session_id in [
        ("bob", "p", session.key.session_id),
        ("", "p", session.key.session_id),
        ("alice", "q", session.key.session_id),
        ("alice", "p", ""),
        ("alice", "p", session.key.session_id.upper()),
        ("alice", "p", session.key.session_id + "\n"),
    ]:
        with pytest.raises(UnknownSession) as refusal:
            manager.find(owner, protocol, session_id)
        assert str(refusal.value) == "no such session, or it has ended"
    assert manager.owned("bob", "p") == []


async def test_clients_may_choose_the_same_id(managed: Managed) -> None:
    manager = managed()
    for owner in ("alice", "bob"):
        session = await manager.find_or_open(owner, "p", "mine")
        await session.run(snippet(f"name = {owner!r}"))
    bobs = await manager.find_or_open("bob", "p", "mine")
    assert (await bobs.run(snippet("name"))).value == "'bob'"
    assert len(manager) == 2


async def test_ids_cannot_be_guessed(managed: Managed) -> None:
    manager = managed()
    ids = {manager.open("", "p").key.session_id for _ in range(200)}
    assert len(ids) == 200
    assert all(len(found) == 32 for found in ids)  # 128 bits


@pytest.mark.parametrize("session_id", ["a" * 129, "ä", "a\nb", "\x00"])
async def test_an_id_that_is_not_fit_for_logs_is_refused(managed: Managed, session_id: str) -> None:
    with pytest.raises(InvalidRequest, match="session id"):
        await managed().find_or_open("", "p", session_id)


async def test_quotas_count_open_sessions_of_the_owner_and_of_all(managed: Managed) -> None:
    manager = managed(max_sessions=3, max_sessions_per_owner=2)
    first, _ = manager.open("alice", "p"), manager.open("alice", "q")
    with pytest.raises(Overloaded, match="alice has 2 sessions"):
        manager.open("alice", "p")
    manager.open("bob", "p")
    with pytest.raises(Overloaded, match="gateway has 3 sessions"):
        manager.open("carol", "p")
    await manager.close(first)
    await manager.close(first)  # counts once
    manager.open("alice", "p")
    with pytest.raises(Overloaded):
        manager.open("alice", "p")


async def test_a_session_ends_when_it_is_idle_or_old(managed: Managed) -> None:
    manager = managed(idle_s=0.3, lifetime_s=60)
    async with manager:
        idle, kept = manager.open("", "p"), manager.open("", "p", may_idle=True)
        brief = manager.open("", "p", may_idle=True)
        brief.live_for(0.2)
        await kept.run(snippet("x = 1"))
        async with asyncio.timeout(10):
            while len(manager) > 1:  # noqa: ASYNC110 - by a timer
                await asyncio.sleep(0.05)
        assert manager.owned("", "p") == [kept]
        for ended in (idle, brief):
            with pytest.raises(SessionEnded):
                await ended.run(snippet("1"))
        assert (await manager.find_or_open("", "p", idle.key.session_id)) is not idle


async def test_a_running_snippet_is_not_idle(managed: Managed) -> None:
    async with managed(idle_s=0.2) as manager:
        session = manager.open("", "p")
        result = await session.run(snippet("import time; time.sleep(1.2); 7"))
        assert result.value == "7"


async def test_snippets_of_one_session_run_in_turn_and_few_may_wait(managed: Managed) -> None:
    session = managed().open("", "p")
    await session.run(snippet("n = 0"))
    calls = [asyncio.create_task(session.run(snippet("n += 1; n"))) for _ in range(40)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    values = [result.value for result in results if isinstance(result, pb.SnippetResult)]
    assert values == [str(number) for number in range(1, 17)]
    assert {type(result) for result in results if not isinstance(result, pb.SnippetResult)} == {Overloaded}


@pytest.mark.parametrize("end", ["close", "restart"])
async def test_the_end_of_a_session_reaches_all_its_snippets(managed: Managed, end: str) -> None:
    session = managed().open("", "p")
    await session.run(snippet("x = 1"))
    calls = [asyncio.create_task(session.run(snippet(ENDLESS))) for _ in range(3)]
    await asyncio.sleep(0.2)
    await getattr(session, end)()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {SessionEnded}
    if end == "restart":
        assert session.is_fresh
        assert (await session.run(snippet("x"))).exception.type == "NameError"


async def test_a_cancelled_snippet_leaves_the_session_as_it_was(managed: Managed) -> None:
    session = managed().open("", "p")
    await session.run(snippet("x = 5"))
    call = asyncio.create_task(session.run(snippet(ENDLESS)))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await session.run(snippet("x"))).value == "5"


async def test_a_lost_state_makes_the_session_fresh(managed: Managed) -> None:
    session = managed().open("", "p")
    assert session.is_fresh
    await session.run(snippet("x = 1"))
    assert not session.is_fresh
    await session.run(snippet("print('a' * 20_000_000)"))
    assert session.is_fresh


async def test_the_history_of_a_session_is_bounded(managed: Managed) -> None:
    session = managed(history_characters=1000).open("", "p")
    await session.run(snippet("x = 1" + " " * 900))
    with pytest.raises(InvalidRequest, match="open a new session"):
        await session.run(snippet("y = 1" + " " * 200))
    assert (await session.run(snippet("x"))).value == "1"


async def test_no_result_within_the_deadline_is_overload(managed: Managed) -> None:
    manager = managed()
    with pytest.raises(Overloaded, match="no result within"):
        await manager.run_once(snippet(ENDLESS, deadline_s=0.5))
