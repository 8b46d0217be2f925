"""Sessions that hold more memory than the pod of `cpu-demo` has: the executor evicts some, the kernel kills nobody."""

import asyncio
from pathlib import Path

import pytest
import yaml
from support.docker_engine import ROOT, Deployment, docker
from support.executor_process import Executor, running

from deepmath.executor.v1 import executor_pb2 as pb

pytestmark = pytest.mark.slow

OVERLAY = ROOT / "deploy" / "k8s" / "overlays" / "cpu-demo" / "executor.yaml"
SETTINGS = ROOT / "deploy" / "k8s" / "base" / "executor" / "config.env"
SESSIONS, MEBIBYTES = 16, 440
OPERATING_SYSTEM = "import random\nos = random._os\nload = os.sys.modules['importlib'].import_module\n"
TOUCH = f"for at in range(0, {MEBIBYTES} << 20, 4096): x[at] = 1\n"
HOLD = {
    "bytearray": f"x = bytearray({MEBIBYTES} << 20)\n{TOUCH}",
    "untouched_mapping": f"{OPERATING_SYSTEM}x = load('mmap').mmap(-1, {MEBIBYTES} << 20, flags=34)\n",
    "shared_mapping": f"{OPERATING_SYSTEM}x = load('mmap').mmap(-1, {MEBIBYTES} << 20)\n{TOUCH}",
}
COUNT_KILLS = """
import pathlib
for name in ("memory/memory.oom_control", "memory.events"):
    file = pathlib.Path("/sys/fs/cgroup", name)
    if file.exists():
        print(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])
"""


def kernel_kills(folder: Path) -> int:
    return int(docker("exec", (folder / "container").read_text(), "python", "-c", COUNT_KILLS).stdout)


async def hold(executor: Executor, code: str, held: asyncio.Barrier) -> tuple[pb.SnippetResult, pb.SnippetResult]:
    """Return the results of `code` and, once all sessions have run theirs, of another snippet."""
    async with executor.session() as session:
        first = await session.run(code)
        await held.wait()
        return first, await session.run("len(x)")


async def test_sessions_over_the_memory_of_the_pod_are_evicted_before_the_kernel_kills(image, tmp_path) -> None:
    container = yaml.safe_load(OVERLAY.read_text())["spec"]["template"]["spec"]["containers"][0]
    limits = container["resources"]["limits"]
    memory = limits["memory"].removesuffix("i").lower()
    settings = dict(line.split("=") for line in SETTINGS.read_text().splitlines() if line.startswith("DEEPMATH"))
    limited = (f"--memory={memory}", f"--memory-swap={memory}", f"--cpus={limits['cpu']}")
    environment = [f"--env={name}={value}" for name, value in settings.items()]
    options = (f"--max-running-snippets={limits['cpu']}", "--require=pod", "--health-listen=")
    async with running(
        tmp_path, *options, preload="maths", inside=Deployment(image), container=(*limited, *environment)
    ) as executor:
        for name, code in HOLD.items():
            held = asyncio.Barrier(SESSIONS)
            results = await asyncio.gather(*(hold(executor, code, held) for _ in range(SESSIONS)))
            refused = name == "shared_mapping"
            assert {first.outcome for first, _ in results} == {pb.OUTCOME_EXCEPTION if refused else pb.OUTCOME_OK}
            evicted = [second for _, second in results if second.outcome == pb.OUTCOME_SANDBOX_FAILED]
            assert all(second.state_lost for second in evicted)
            assert (0 < len(evicted) < SESSIONS) != refused, name
            assert kernel_kills(tmp_path) == 0, name
        evictions = executor.log.read_text().count("evicted a sandbox")
        assert evictions >= SESSIONS
