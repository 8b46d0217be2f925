"""The docker backend: what a container is made with, that none is left behind, and what an engine can do wrong."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from support.docker_engine import PROFILE, containers, docker
from support.executor_process import Ended, Executor, running

from deepmath.executor.v1 import executor_pb2 as pb

pytestmark = pytest.mark.slow

LABEL = "deepmath.executor.supervisor"
WAITING = 2
ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


@pytest.fixture(scope="module")
async def executor(image, tmp_path_factory) -> AsyncIterator[Executor]:
    folder = tmp_path_factory.mktemp("docker")
    async with running(folder, "--backend=docker", f"--image={image}", f"--waiting-sandboxes={WAITING}") as executor:
        yield executor


@pytest.fixture
async def doomed(image, tmp_path) -> AsyncIterator[Executor]:
    """One for a single test, which ends it or its engine."""
    async with running(tmp_path, "--backend=docker", f"--image={image}", "--waiting-sandboxes=1") as executor:
        yield executor


def own(executor: Executor) -> dict[str, dict]:
    """The containers of `executor`, as the engine tells them."""
    known = json.loads(docker("inspect", *containers()).stdout) if containers() else []
    return {one["Id"]: one for one in known if json.loads(one["Config"]["Labels"][LABEL])[2] == executor.pid}


def pid_namespace(process: int) -> str:
    return str(Path(f"/proc/{process}/ns/pid").readlink())


async def until(holds, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.1)


async def settled(executor: Executor) -> dict[str, dict]:
    """The containers of `executor` once there are none but the waiting ones."""
    await executor.until(lambda load: load.live_sessions == 0 and load.waiting_sandboxes == WAITING, 60)
    await until(lambda: len(own(executor)) == WAITING)
    return own(executor)


async def serve(*options: str, **environment: str) -> Ended:
    """Run `python -m deepmath_executor --backend docker` until it ends by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deepmath_executor", "--backend=docker", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    out, err = await process.communicate()
    ended = Ended(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in ended.err, ended.err
    return ended


class Relay:
    """A socket that leads to the engine while it is started: an engine that dies and comes back."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}"
        self._path = path
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self._path)

    def stop(self) -> None:
        self._server.close()
        self._path.unlink()
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward = await asyncio.open_unix_connection(ENGINE.removeprefix("unix://"))
        self._writers += [writer, onward]
        await asyncio.gather(_pump(reader, onward), _pump(onward_reader, writer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()


async def test_session_keeps_its_variables_in_its_container(executor) -> None:
    async with executor.session() as session:
        await session.run("x = 6")
        assert (await session.run("x * 7")).value == "42"


async def test_service_names_its_backend(executor) -> None:
    info = await executor.stub.GetInfo(pb.GetInfoRequest())
    assert info.backend == "docker"


async def test_service_tells_every_layer_but_a_user_namespace_to_be_in_force(executor) -> None:
    layers = {layer.name: layer.in_force for layer in (await executor.stub.GetInfo(pb.GetInfoRequest())).layers}
    assert [name for name, in_force in layers.items() if not in_force] == ["user_namespace"]
    assert {"network_namespace", "pid_namespace", "minimal_root", "container_seccomp", "landlock", "cgroup"} <= {
        *layers
    }


async def test_container_is_made_with_every_restriction(executor) -> None:
    host = next(iter((await settled(executor)).values()))["HostConfig"]
    expected = {
        "AutoRemove": True,
        "CapAdd": None,
        "CapDrop": ["ALL"],
        "CpuQuota": host["CpuPeriod"],
        "Devices": None,
        "IpcMode": "none",
        "LogConfig": {"Type": "none", "Config": {}},
        "NetworkMode": "none",
        "PidMode": "",
        "PidsLimit": 32,
        "PortBindings": None,
        "Privileged": False,
        "ReadonlyRootfs": True,
        "Tmpfs": None,
        "VolumesFrom": None,
    }
    assert {name: host.get(name) for name in expected} == expected
    assert host["Memory"] == host["MemorySwap"] > 0
    assert sorted(host["SecurityOpt"]) == ["no-new-privileges:true", f"seccomp={PROFILE.read_text()}"]


async def test_container_is_not_roots(executor) -> None:
    users = {one["Config"]["User"].split(":")[0] for one in (await settled(executor)).values()}
    assert users == {str(os.getuid() or 65534)}


async def test_container_sees_nothing_of_the_host_but_a_folder_that_is_gone(executor) -> None:
    mounts = [mount for one in (await settled(executor)).values() for mount in one["Mounts"]]
    assert len(mounts) == WAITING
    assert not any(mount["RW"] or os.access(mount["Source"], os.F_OK) for mount in mounts)


async def test_two_sessions_are_in_two_containers(executor) -> None:
    before = await settled(executor)
    async with executor.session(), executor.session():
        assert len({pid_namespace(one["State"]["Pid"]) for one in before.values()}) == 2


async def test_container_goes_with_its_session(executor) -> None:
    before = await settled(executor)
    async with executor.session():
        pass
    await until(lambda: len(before.keys() & own(executor).keys()) == WAITING - 1)


async def test_snippet_after_a_kill_runs_in_a_fresh_container(executor) -> None:
    async with executor.session() as session:
        assert (await session.run("import random; random._os._exit(3)")).state_lost
        assert (await session.run("1 + 1")).value == "2"


async def test_container_that_is_killed_from_outside_is_not_the_snippets_fault(executor) -> None:
    async with executor.session() as session:
        await session.run("x = 1")
        before = own(executor)
        await session.send("while True: pass", 2)
        await asyncio.sleep(0.5)
        docker("kill", *before)
        assert (await session.read()).result.outcome == pb.OUTCOME_SANDBOX_FAILED


async def test_no_container_is_left_when_the_service_ends(doomed) -> None:
    async with doomed.session():
        doomed.process.send_signal(signal.SIGTERM)
        await doomed.process.wait()
    await until(lambda: not own(doomed))


async def test_no_container_is_left_when_the_service_is_killed(doomed) -> None:
    async with doomed.session():
        doomed.process.kill()
        await doomed.process.wait()
        await until(lambda: not own(doomed))


async def test_leftover_of_a_dead_service_is_removed_when_the_next_starts(image, tmp_path) -> None:
    dead = json.dumps(["another boot", 0, 1, 0])
    left = docker("create", f"--label={LABEL}={dead}", image).stdout.strip()
    await serve(f"--image={image}", "--check")
    assert docker("inspect", left).returncode != 0


async def test_container_of_a_service_that_lives_is_left_alone(executor, image) -> None:
    before = await settled(executor)
    await serve(f"--image={image}", "--check")
    assert own(executor).keys() == before.keys()


@pytest.fixture
async def relay(tmp_path) -> AsyncIterator[Relay]:
    relay = Relay(tmp_path / "engine")
    await relay.start()
    yield relay
    relay.stop()


@pytest.fixture
async def relayed(image, tmp_path, relay, monkeypatch) -> AsyncIterator[Executor]:
    """An executor whose engine is behind `relay`. It keeps no container waiting."""
    monkeypatch.setenv("DOCKER_HOST", relay.address)
    async with running(tmp_path, "--backend=docker", f"--image={image}", "--waiting-sandboxes=0") as executor:
        yield executor


async def test_session_goes_on_without_its_engine(relayed, relay) -> None:
    async with relayed.session() as session:
        await session.run("x = 6")
        relay.stop()
        value = (await session.run("x * 7")).value
        await relay.start()
    assert value == "42"


async def test_session_without_an_engine_is_refused_for_the_time_being(relayed, relay) -> None:
    relay.stop()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with relayed.session():
            pass
    await relay.start()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_snippet_without_an_engine_is_not_at_fault(relayed, relay) -> None:
    relay.stop()
    result = await relayed.execute("1 + 1")
    await relay.start()
    assert result.outcome == pb.OUTCOME_SANDBOX_FAILED


async def test_service_works_again_when_the_engine_is_back(relayed, relay) -> None:
    relay.stop()
    await relayed.execute("1 + 1")
    await relay.start()
    assert (await relayed.execute("1 + 1")).value == "2"


async def test_missing_sdk_is_told_with_what_installs_it(tmp_path) -> None:
    (tmp_path / "docker.py").write_text("raise ImportError")
    ended = await serve("--check", PYTHONPATH=str(tmp_path))
    assert (ended.status, "deepmath-services[executor-docker]" in ended.err) == (1, True)


async def test_engine_that_is_not_there_is_told_with_its_address(tmp_path) -> None:
    ended = await serve("--check", DOCKER_HOST=f"unix://{tmp_path}/none")
    assert (ended.status, f"unix://{tmp_path}/none" in ended.err, "start the engine" in ended.err) == (1, True, True)


async def test_engine_that_does_not_answer_is_told(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))  # and never listens
    ended = await serve("--check", DOCKER_HOST=f"unix://{tmp_path}/dead")
    assert (ended.status, "nobody answers" in ended.err) == (1, True)


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2375", "ssh://user@example.org", "npipe:////./pipe/docker"])
async def test_engine_of_another_machine_is_refused(address: str) -> None:
    ended = await serve("--check", DOCKER_HOST=address)
    assert (ended.status, "has to be on this machine" in ended.err) == (1, True)


async def test_unknown_image_is_told_with_what_builds_it(docker_engine) -> None:
    ended = await serve("--check", "--image=deepmath-executor:of-yesterday")
    assert (ended.status, "make images" in ended.err) == (1, True)


async def test_unknown_runtime_is_told_with_those_that_there_are(image) -> None:
    ended = await serve("--check", f"--image={image}", "--runtime=runsc-of-yesterday")
    assert (ended.status, "runc" in ended.err) == (1, True)


async def test_image_whose_python_does_not_start_is_told(image, tmp_path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nENV PYTHONHOME=/nowhere\n")
    built = docker("build", "--quiet", "--tag=deepmath-executor:broken", str(tmp_path))
    assert built.returncode == 0, built.stderr
    try:
        ended = await serve("--check", "--image=deepmath-executor:broken")
    finally:
        docker("rmi", "deepmath-executor:broken")
    assert (ended.status, "ended before it connected" in ended.err) == (1, True)


@pytest.mark.skipif(os.getuid() != 0, reason="takes a root that becomes somebody else")
async def test_socket_of_somebody_else_is_told_with_the_group_to_join(tmp_path) -> None:
    stranger = (
        "import asyncio, concurrent.futures.thread, os, docker\n"
        "from deepmath import errors\n"
        "from deepmath_executor.docker_client import Engine\n"
        "os.setgroups([]); os.setuid(65534)\n"
        "try: asyncio.run(Engine.reach())\n"
        "except errors.Unavailable as error: print(error)"
    )
    tmp_path.chmod(0o700)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", stranger),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/engine"},
    )
    out, _ = await process.communicate()
    assert b"permission denied" in out


async def test_container_that_takes_too_much_of_the_whole_is_killed(image, tmp_path):
    options = ("--backend=docker", f"--image={image}", "--waiting-sandboxes=1", f"--max-total-memory-bytes={1 << 30}")
    async with running(tmp_path, *options) as executor, executor.session() as session:
        take = "x = bytearray(b'x' * (1 << 30))\nimport random\nrandom._os.sys.modules['time'].sleep(9)"
        result = await session.run(take, memory_bytes=2 << 30)
        assert (result.outcome, result.state_lost) == (pb.OUTCOME_SANDBOX_FAILED, True)


async def test_service_whose_whole_memory_is_too_little_for_a_container_says_so(image):
    ended = await serve(f"--image={image}", f"--max-total-memory-bytes={100 << 20}", "--check")
    assert ended.status == 1
    assert "the containers hold all of the 100 MiB they may have together" in ended.err
