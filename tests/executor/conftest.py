"""Real executors, shared by all tests of this folder."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.attacks import Attacker, Bystander
from support.docker_engine import HARDENED_FULL, Deployment, docker_engine, image  # noqa: F401  (fixtures)
from support.executor_process import GRACE_MS, SMALL_SESSIONS, Executor, running
from support.user_namespace import in_user_namespace

# The native backend at each level, the image as the manifest runs it, and one container per sandbox.
SANDBOXES = ("full", "pod", "image", "docker")
LEAN_DOCKER = "lean_docker"  # containers without the maths libraries start three times as fast
# The image as the component level-full runs it, the second time in a user namespace, as with hostUsers: false.
FULL_IMAGES = ("image_full", "image_user_namespace")
ALL_CASES = "DEEPMATH_TEST_ALL_CASES"
CONTAINER_SAMPLING = 6  # one case in so many


def pytest_generate_tests(metafunc) -> None:
    """Run each test on every kind of sandbox, or on the `KINDS` of its module.

    Modules with `NEEDS_MATHS = False` get containers without maths.
    """
    if "executor" in metafunc.fixturenames and not hasattr(metafunc.module, "executor"):  # a fixture of its own
        needs_maths = getattr(metafunc.module, "NEEDS_MATHS", True)
        kinds: tuple[str, ...] = SANDBOXES if needs_maths else (*SANDBOXES[:-1], LEAN_DOCKER)
        names: tuple[str, ...] = SANDBOXES
        if "attacker" in metafunc.fixturenames:
            kinds, names = (*kinds, *FULL_IMAGES), (*names, *FULL_IMAGES)
        if own := getattr(metafunc.module, "KINDS", None):
            kinds, names = own, own
        metafunc.parametrize("executor", kinds, ids=names, indirect=True, scope="session")


def pytest_collection_modifyitems(config, items) -> None:
    """Run one in CONTAINER_SAMPLING cases of each table on the docker backend, and in a user namespace.

    Every container of the backend takes seconds; a user namespace around a container changes few attacks.
    """
    if os.environ.get(ALL_CASES):
        return
    tables = defaultdict(list)
    for item in items:
        kind = item.callspec.params.get("executor") if getattr(item, "callspec", None) else None
        if kind in ("docker", LEAN_DOCKER, FULL_IMAGES[1]):
            tables[item.function, kind].append(item)
    left_out = {item for cases in tables.values() for at, item in enumerate(cases) if at % CONTAINER_SAMPLING}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
async def executor(request, tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor of each kind."""
    in_docker = request.param in ("docker", LEAN_DOCKER)
    folder = tmp_path_factory.mktemp(request.param)
    inside = None
    if in_docker:
        options = ["--backend=docker", f"--image={request.getfixturevalue('image')}", "--waiting-sandboxes=6"]
    elif request.param.startswith("image"):
        inside = _deployment(request.param, request.getfixturevalue("image"), folder)
        level = "full" if request.param in FULL_IMAGES else "pod"
        options = [f"--require={level}", "--health-listen=", "--waiting-sandboxes=3"]
    else:
        options = [f"--level={request.param}", "--waiting-sandboxes=3"]
    preload = "none" if request.param == LEAN_DOCKER else "maths"
    async with running(folder, *options, f"--grace-ms={GRACE_MS}", preload=preload, inside=inside) as executor:
        executor.sandboxes_are_cheap = not in_docker
        yield executor


def _deployment(kind: str, image: str, folder: Path) -> Deployment:  # noqa: F811
    if kind == "image_user_namespace":
        return in_user_namespace(image, folder)
    return Deployment(image, HARDENED_FULL) if kind == "image_full" else Deployment(image)


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
