"""Sessions that together take more memory than the pod of an overlay has: the kernel kills nobody.

The container has exactly the limits of the rendered overlay and no swap, at both levels, and all sessions are open. By
default some cases of `cpu-demo` run; DEEPMATH_TEST_ALL_CASES=1 runs all, which need 9 GiB of memory and half an hour.
"""

import asyncio
import os
import random
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import grpc
import pytest
from deepmath_executor.config import ExecutorConfig
from deploy.manifests import kustomize, of_kind, pods, render
from support.attacks import FORGE, PRELUDE
from support.docker_engine import HARDENED, HARDENED_FULL, Deployment
from support.executor_process import Executor, Session, running
from support.memory_group import MemoryGroup

from deepmath.executor.v1 import executor_pb2 as pb

from .conftest import ALL_CASES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXHAUSTIVE = bool(os.environ.get(ALL_CASES))
OVERLAYS = ("cpu-demo", "gpu", "multi-node") if EXHAUSTIVE else ("cpu-demo",)
HOLDERS = 8  # sessions with memory beside a flood
STEPS = 3 if EXHAUSTIVE else 1
LEVELS = {"pod": HARDENED, "full": HARDENED_FULL}
MIB = 1 << 20
SIZES = (1, 5, 20, 80, 200, 440)  # MiB
# What a snippet does with `size` bytes. It keeps them until its session ends or runs another.
USES = {
    "touched": "x = bytearray(size)\nfor at in range(0, size, 4096): x[at] = 1",
    "untouched": "x = load('mmap').mmap(-1, size, flags=34)",
    "grows": "x = []\nfor at in range(0, size, 1 << 20): x.append(b'x' * (1 << 20))",
    "freed": "x = bytearray(size)\nfor at in range(0, size, 4096): x[at] = 1\nx = None",
    "over_the_limit": "x = []\nwhile True: x.append(b'x' * (1 << 24))",
    "page_tables": """
libc.mmap.restype = ctypes.c_long
libc.mmap.argtypes = [ctypes.c_long] * 6
for at in range(65000):
    ctypes.c_char.from_address(checked(libc.mmap((1 << 44) + (at << 30), 4096, 1, 0x100022, -1, 0))).value
""",
    "scattered_pages": """
libc.mmap.restype = ctypes.c_long
libc.mmap.argtypes = [ctypes.c_long] * 6
for at in range(size >> 16):
    ctypes.c_char.from_address(checked(libc.mmap((1 << 44) + (at << 22), 4096, 3, 0x100022, -1, 0))).value = b'x'
""",
    "copied_pages": "gc = load('gc')\ngc.unfreeze()\nx = gc.get_objects()\ny = [list(x) for _ in range(2)]",
    "output": "for _ in range(100): print('x' * (size >> 10))",
    "errors": "os.write(2, b'x' * (6 << 20))",
    "value": "'x' * (1 << 20)",
    "stopped_reader": "x = bytearray(size)\nos.write(1, b'x' * 60000)\nos.write(2, b'x' * 60000)",
    "files_that_do_not_exist": "for at in range(20000):\n    try: os.stat(f'/{at}')\n    except OSError: pass",
    "shared_mapping": "x = load('mmap').mmap(-1, size)",
    "computes_after_its_answer": """
forge({'sequence': SEQUENCE, 'outcome': 'OK'})
x = bytearray(size)
for at in range(0, size, 4096): x[at] = 1
""",
}
HELD = ("untouched", "touched", "copied_pages", "page_tables", "scattered_pages")
HONEST = (
    "from sympy import *\nx = symbols('x')\ny = [integrate(x**n * exp(x), x) for n in range(3)]\nsolve(x**3 - x, x)",
    "import numpy\nz = numpy.ones(100_000)\nz.sum()",
    "y",
)
LIMITS = {"default": 0, "small": 64 * MIB, "large": 1000 * MIB}


@dataclass(frozen=True)
class Pod:
    """Limits and settings of an overlay's executors."""

    memory_bytes: int
    cpus: str
    settings: dict[str, str]

    @property
    def sessions(self) -> int:
        return int(self.settings["DEEPMATH_EXECUTOR_MAX_SESSIONS"])

    def container_options(self) -> tuple[str, ...]:
        """Return the options of docker; not the number of processors, which this machine may not have."""
        limits = (f"--memory={self.memory_bytes}", f"--memory-swap={self.memory_bytes}")
        running = f"--env=DEEPMATH_EXECUTOR_MAX_RUNNING_SNIPPETS={self.cpus}"
        return (*limits, running, *(f"--env={name}={value}" for name, value in self.settings.items()))


def executor_pod(overlay: str) -> Pod:
    manifests = render(overlay)
    (pod,) = (pod for pod in pods(manifests) if pod.component == "executor")
    (container,) = pod.spec["containers"]
    limits = container["resources"]["limits"]
    assert limits["memory"].endswith("Gi")
    configs = {config["metadata"]["name"]: config.get("data", {}) for config in of_kind(manifests, "ConfigMap")}
    names = [source["configMapRef"]["name"] for source in container["envFrom"]]
    settings = {key: value for name in names for key, value in configs.get(name, {}).items() if "EXECUTOR" in key}
    return Pod(int(limits["memory"].removesuffix("Gi")) << 30, limits["cpu"], settings)


@pytest.fixture(scope="module", params=[(overlay, level) for overlay in OVERLAYS for level in LEVELS], ids="-".join)
async def deployed(request, image, tmp_path_factory):
    """A running executor, its pod and its control group."""
    if not kustomize():
        pytest.skip("neither kubectl nor kustomize is installed: the manifests cannot be rendered")
    overlay, level = request.param
    pod = executor_pod(overlay)
    without_limits = tuple(o for o in LEVELS[level] if not o.startswith(("--memory", "--cpus")))
    inside = Deployment(image, without_limits)
    options = (f"--require={level}", f"--level={level}", "--health-listen=")
    folder = tmp_path_factory.mktemp(f"{overlay}-{level}")
    async with running(folder, *options, preload="maths", inside=inside, container=pod.container_options()) as executor:
        yield executor, pod, MemoryGroup(executor.pid)


def report(name: str, pod: Pod, group: MemoryGroup, executor: Executor, outcomes: Counter[str]) -> None:
    evictions = executor.log.read_text().count("evicted a sandbox")
    print(f"\n{name}: {pod.sessions} sessions, peak {group.peak_bytes() >> 20} of {pod.memory_bytes >> 20} MiB,")
    print(f"  {group.oom_kills()} kernel kills, {evictions} evictions, {dict(outcomes)}")


@pytest.mark.skipif(not EXHAUSTIVE, reason=f"{ALL_CASES} is not set")
async def test_honest_sessions_fill_every_place_without_an_eviction(deployed) -> None:
    executor, pod, group = deployed
    ready = asyncio.Barrier(pod.sessions)
    outcomes: Counter[str] = Counter()

    async def one() -> None:
        async with executor.session() as session:
            for step in HONEST:
                outcomes[pb.Outcome.Name((await session.run(step)).outcome)] += 1
                await ready.wait()

    await asyncio.gather(*(one() for _ in range(pod.sessions)))
    report("honest", pod, group, executor, outcomes)
    assert set(outcomes) == {"OUTCOME_OK"}
    assert group.oom_kills() == 0
    assert "evicted a sandbox" not in executor.log.read_text()


async def test_hostile_sessions_over_the_memory_of_the_pod_kill_no_process(deployed) -> None:
    executor, pod, group = deployed
    choice = random.Random(0)
    outcomes: Counter[str] = Counter()

    async def one(plan: list[tuple[str, int, str]]) -> None:
        async with executor.session() as session:
            for use, size, limit in plan:
                outcome = await play(session, use, size * MIB, LIMITS[limit])
                outcomes[pb.Outcome.Name(outcome)] += 1
            await finished.wait()  # with what it holds

    finished = asyncio.Barrier(pod.sessions)
    plans = [
        [(choice.choice(list(USES)), choice.choice(SIZES), choice.choice(list(LIMITS))) for _ in range(STEPS)]
        for _ in range(pod.sessions)
    ]
    await asyncio.gather(*map(one, plans))
    report("hostile", pod, group, executor, outcomes)
    assert group.oom_kills() == 0
    assert outcomes["OUTCOME_OK"] > pod.sessions / 2
    assert (await executor.execute("1 + 1")).value == "2"


async def test_sessions_of_the_client_that_holds_the_most_are_evicted(deployed) -> None:
    executor, pod, _ = deployed
    size = pod.memory_bytes // 16  # the budget between snippets is about half of the memory
    async with AsyncExitStack() as sessions:
        modest = await sessions.enter_async_context(executor.session(client="modest"))
        assert await play(modest, "touched", 2 * size, 0) == pb.OUTCOME_OK
        for _ in range(12):
            one = await sessions.enter_async_context(executor.session(client="greedy"))
            assert await play(one, "touched", size, 0) == pb.OUTCOME_OK
        assert (await modest.run("len(x)")).value == str(2 * size)
        assert (await one.run("len(x)")).value == str(size)


async def test_flood_of_large_messages_beside_sessions_that_hold_memory_kills_no_process(deployed) -> None:
    executor, pod, group = deployed
    text = "x" * (ExecutorConfig.model_fields["max_message_bytes"].default - 100)

    async def send(message: pb.SessionRequest | pb.ExecuteRequest) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError):
                if isinstance(message, pb.ExecuteRequest):
                    await executor.stub.Execute(message)
                else:
                    stream = executor.stub.Session()
                    await stream.write(message)
                    await stream.read()

    messages = (pb.SessionRequest(run=pb.RunSnippet(sequence=1, code=text)), pb.ExecuteRequest(code=text))
    floods = [asyncio.create_task(send(message)) for _ in range(pod.sessions - HOLDERS) for message in messages]
    outcomes: Counter[str] = Counter()

    async def hold() -> None:
        async with executor.session() as session:
            for _ in range(STEPS):
                outcomes[pb.Outcome.Name(await play(session, "touched", 440 * MIB, 0))] += 1

    await asyncio.gather(*(hold() for _ in range(HOLDERS)))
    for flood in floods:
        flood.cancel()
    await asyncio.gather(*floods, return_exceptions=True)
    report("messages", pod, group, executor, outcomes)
    assert group.oom_kills() == 0


@pytest.mark.parametrize("use", HELD if EXHAUSTIVE else HELD[:1])
async def test_every_session_holds_what_it_can(deployed, use: str) -> None:
    executor, pod, group = deployed
    held = asyncio.Barrier(pod.sessions)
    outcomes: Counter[str] = Counter()

    async def one() -> None:
        async with executor.session() as session:
            outcomes[pb.Outcome.Name(await play(session, use, 440 * MIB, 0))] += 1
            await held.wait()
            outcomes[f"then {pb.Outcome.Name((await session.run('1')).outcome)}"] += 1

    await asyncio.gather(*(one() for _ in range(pod.sessions)))
    report(use, pod, group, executor, outcomes)
    assert group.oom_kills() == 0


async def play(session: Session, use: str, size: int, limit_bytes: int) -> "pb.Outcome.ValueType":
    code = f"{PRELUDE}{FORGE}size = {size}\n{USES[use].replace('SEQUENCE', str(session.sequence + 1))}\n"
    limits = {"memory_bytes": limit_bytes} if limit_bytes else {}
    try:
        return (await session.run(code, "", **limits)).outcome
    except grpc.aio.AioRpcError as error:
        raise AssertionError(f"{use} of {size}: {error.details()}") from error
