"""Real executors, shared by all tests of this folder."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
from support.attacks import Attacker, Bystander
from support.docker_engine import docker_engine, image  # noqa: F401  (fixtures)
from support.executor_process import GRACE_MS, SMALL_SESSIONS, Executor, running

# The native backend at each level, the image as the manifest runs it, and one container per sandbox.
SANDBOXES = ("full", "pod", "image", "docker")
ALL_CASES = "DEEPMATH_TEST_ALL_CASES"
CONTAINER_SAMPLING = 6  # one case in so many


def pytest_collection_modifyitems(config, items) -> None:
    """Run one in CONTAINER_SAMPLING cases of each table on the docker backend: every container takes seconds."""
    if os.environ.get(ALL_CASES):
        return
    tables = defaultdict(list)
    for item in items:
        if getattr(item, "callspec", None) and item.callspec.params.get("executor") == "docker":
            tables[item.function].append(item)
    left_out = {item for cases in tables.values() for at, item in enumerate(cases) if at % CONTAINER_SAMPLING}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", params=SANDBOXES)
async def executor(request, tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor of each kind."""
    image = request.getfixturevalue("image") if request.param in ("image", "docker") else None  # noqa: F811
    inside = None
    if request.param == "docker":
        options = ["--backend=docker", f"--image={image}", "--waiting-sandboxes=6"]
    elif request.param == "image":
        inside = image
        options = ["--require=pod", "--health-listen=", "--waiting-sandboxes=3"]
    else:
        options = [f"--level={request.param}", "--waiting-sandboxes=3"]
    folder = tmp_path_factory.mktemp(request.param)
    async with running(folder, *options, f"--grace-ms={GRACE_MS}", preload="maths", inside=inside) as executor:
        executor.sandboxes_are_cheap = request.param != "docker"
        yield executor


@pytest.fixture(scope="session")
async def bystander(executor) -> AsyncIterator[Bystander]:
    """Another client's session, open during all tests with the same executor."""
    async with executor.session(session_id="bystander") as session:
        bystander = Bystander(session)
        await bystander.set_up()
        yield bystander


@pytest.fixture(scope="module")
async def attacker(executor, bystander) -> AsyncIterator[Attacker]:
    """Runs attacks next to the bystander. No process of theirs may be left at the end of the module."""
    async with executor.session(session_id="attacker") as session:
        yield Attacker(executor, bystander, session)
    if executor.sandboxes_are_cheap:
        async with asyncio.timeout(10):
            while len(executor.sandboxes()) != 1 + (await executor.load()).waiting_sandboxes:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
async def small_executor(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor with few sessions and one slot, for tests that fill it, count its processes, or kill them."""
    options = {"level": "full", "waiting-sandboxes": 1, "max-running-snippets": 1, "max-sessions": SMALL_SESSIONS}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    async with running(tmp_path_factory.mktemp("small"), *arguments, preload="maths") as executor:
        yield executor


@pytest.fixture
async def doomed_executor(tmp_path) -> AsyncIterator[Executor]:
    """An executor for one test, which stops or kills it."""
    async with running(tmp_path, "--waiting-sandboxes", "1") as executor:
        yield executor
