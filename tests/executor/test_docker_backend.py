"""Docker backend: restrictions of the containers, their removal, and failures of the engine."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

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
    """An executor for one test, which stops it or its engine."""
    async with running(tmp_path, "--backend=docker", f"--image={image}", "--waiting-sandboxes=1") as executor:
        yield executor


def own_containers(executor: Executor) -> dict[str, dict[str, Any]]:
    """Return the containers of `executor` by id, as inspected by the engine."""
    known = json.loads(docker("inspect", *containers()).stdout) if containers() else []
    return {one["Id"]: one for one in known if json.loads(one["Config"]["Labels"][LABEL])[2] == executor.pid}


def pid_namespace(process: int) -> str:
    return str(Path(f"/proc/{process}/ns/pid").readlink())


async def until(holds, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.1)


async def settled(executor: Executor) -> dict[str, dict[str, Any]]:
    """Return the containers of `executor` once only the waiting ones are left."""
    await executor.until(lambda load: load.live_sessions == 0 and load.waiting_sandboxes == WAITING, 60)
    await until(lambda: len(own_containers(executor)) == WAITING)
    return own_containers(executor)


async def serve(*options: str, **environment: str) -> Ended:
    """Run `python -m deepmath_executor --backend docker` until it exits."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deepmath_executor", "--backend=docker", "--preload=none", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    out, err = await process.communicate()
    ended = Ended(await process.wait(), out.decode(), err.decode())
    assert "Traceback" not in ended.err, ended.err
    return ended


class Relay:
    """A socket that forwards to the engine until it is stopped: an engine that dies and restarts."""

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
        engine_reader, engine_writer = await asyncio.open_unix_connection(ENGINE.removeprefix("unix://"))
        self._writers += [writer, engine_writer]
        await asyncio.gather(_pump(reader, engine_writer), _pump(engine_reader, writer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()


async def test_session_keeps_its_variables_in_its_container(executor) -> None:
    async with executor.session() as session:
        await session.run("x = 6")
        assert (await session.run("x * 7")).value == "42"


async def test_info_reports_the_backend(executor) -> None:
    info = await executor.stub.GetInfo(pb.GetInfoRequest())
    assert info.backend == "docker"


async def test_every_layer_but_the_user_namespace_is_in_force(executor) -> None:
    layers = {layer.name: layer.in_force for layer in (await executor.stub.GetInfo(pb.GetInfoRequest())).layers}
    assert [name for name, in_force in layers.items() if not in_force] == ["user_namespace"]
    assert {"network_namespace", "pid_namespace", "minimal_root", "container_seccomp", "landlock", "cgroup"} <= {
        *layers
    }


async def test_container_has_every_restriction(executor) -> None:
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


async def test_container_does_not_run_as_root(executor) -> None:
    users = {one["Config"]["User"].split(":")[0] for one in (await settled(executor)).values()}
    assert users == {str(os.getuid() or 65534)}


async def test_container_mounts_only_the_socket_folder_which_is_removed(executor) -> None:
    mounts = [mount for one in (await settled(executor)).values() for mount in one["Mounts"]]
    assert len(mounts) == WAITING
    assert not any(mount["RW"] or os.access(mount["Source"], os.F_OK) for mount in mounts)


async def test_two_sessions_have_two_containers(executor) -> None:
    before = await settled(executor)
    async with executor.session(), executor.session():
        assert len({pid_namespace(one["State"]["Pid"]) for one in before.values()}) == 2


async def test_container_is_removed_with_its_session(executor) -> None:
    before = await settled(executor)
    async with executor.session():
        pass
    await until(lambda: len(before.keys() & own_containers(executor).keys()) == WAITING - 1)


async def test_snippet_after_a_kill_runs_in_a_fresh_container(executor) -> None:
    async with executor.session() as session:
        assert (await session.run("import random; random._os._exit(3)")).state_lost
        assert (await session.run("1 + 1")).value == "2"


async def test_container_killed_from_outside_is_a_sandbox_failure(executor) -> None:
    async with executor.session() as session:
        await session.run("x = 1")
        before = own_containers(executor)
        await session.send("while True: pass", 2)
        await asyncio.sleep(0.5)
        docker("kill", *before)
        assert (await session.read()).result.outcome == pb.OUTCOME_SANDBOX_FAILED


async def test_no_container_is_left_when_the_service_stops(doomed) -> None:
    async with doomed.session():
        doomed.process.send_signal(signal.SIGTERM)
        await doomed.process.wait()
    await until(lambda: not own_containers(doomed))


async def test_no_container_is_left_when_the_service_is_killed(doomed) -> None:
    async with doomed.session():
        doomed.process.kill()
        await doomed.process.wait()
        await until(lambda: not own_containers(doomed))


async def test_orphaned_container_is_removed_when_the_next_service_starts(image, tmp_path) -> None:
    dead = json.dumps(["another boot", 0, 1, 0])
    left = docker("create", f"--label={LABEL}={dead}", image).stdout.strip()
    await serve(f"--image={image}", "--check")
    assert docker("inspect", left).returncode != 0


async def test_container_of_a_running_service_is_kept(executor, image) -> None:
    before = await settled(executor)
    await serve(f"--image={image}", "--check")
    assert own_containers(executor).keys() == before.keys()


@pytest.fixture
async def relay(tmp_path) -> AsyncIterator[Relay]:
    relay = Relay(tmp_path / "engine")
    await relay.start()
    yield relay
    relay.stop()


@pytest.fixture
async def relayed(image, tmp_path, relay, monkeypatch) -> AsyncIterator[Executor]:
    """An executor whose engine is behind `relay`, without waiting containers."""
    monkeypatch.setenv("DOCKER_HOST", relay.address)
    async with running(tmp_path, "--backend=docker", f"--image={image}", "--waiting-sandboxes=0") as executor:
        yield executor


async def test_open_session_continues_without_the_engine(relayed, relay) -> None:
    async with relayed.session() as session:
        await session.run("x = 6")
        relay.stop()
        value = (await session.run("x * 7")).value
        await relay.start()
    assert value == "42"


async def test_new_session_without_the_engine_is_unavailable(relayed, relay) -> None:
    relay.stop()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with relayed.session():
            pass
    await relay.start()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_execution_without_the_engine_is_a_sandbox_failure(relayed, relay) -> None:
    relay.stop()
    result = await relayed.execute("1 + 1")
    await relay.start()
    assert result.outcome == pb.OUTCOME_SANDBOX_FAILED


async def test_service_recovers_when_the_engine_is_back(relayed, relay) -> None:
    relay.stop()
    await relayed.execute("1 + 1")
    await relay.start()
    assert (await relayed.execute("1 + 1")).value == "2"


async def test_missing_sdk_is_reported_with_the_command_that_installs_it(tmp_path) -> None:
    (tmp_path / "docker.py").write_text("raise ImportError")
    ended = await serve("--check", PYTHONPATH=str(tmp_path))
    assert (ended.status, "pip install 'docker>=" in ended.err) == (1, True)


async def test_missing_engine_socket_is_reported_with_its_address(tmp_path) -> None:
    ended = await serve("--check", DOCKER_HOST=f"unix://{tmp_path}/none")
    assert (ended.status, f"unix://{tmp_path}/none" in ended.err, "start the engine" in ended.err) == (1, True, True)


async def test_refused_connection_to_the_engine_is_reported(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))  # and never listens
    ended = await serve("--check", DOCKER_HOST=f"unix://{tmp_path}/dead")
    assert (ended.status, "connection refused" in ended.err) == (1, True)


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2375", "ssh://user@example.org", "npipe:////./pipe/docker"])
async def test_engine_on_another_machine_is_rejected(address: str) -> None:
    ended = await serve("--check", DOCKER_HOST=address)
    assert (ended.status, "must run on this machine" in ended.err) == (1, True)


async def test_unknown_image_is_reported_with_the_command_that_builds_it(docker_engine) -> None:
    ended = await serve("--check", "--image=deepmath-executor:of-yesterday")
    assert (ended.status, "make images" in ended.err) == (1, True)


async def test_unknown_runtime_is_reported_with_the_available_ones(image) -> None:
    ended = await serve("--check", f"--image={image}", "--runtime=runsc-of-yesterday")
    assert (ended.status, "runc" in ended.err) == (1, True)


async def test_image_whose_python_does_not_start_is_reported(image, tmp_path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nENV PYTHONHOME=/nowhere\n")
    built = docker("build", "--quiet", "--tag=deepmath-executor:broken", str(tmp_path))
    assert built.returncode == 0, built.stderr
    try:
        ended = await serve("--check", "--image=deepmath-executor:broken")
    finally:
        docker("rmi", "deepmath-executor:broken")
    assert (ended.status, "ended before it connected" in ended.err) == (1, True)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
async def test_socket_without_permission_is_reported_with_the_group_to_join(tmp_path) -> None:
    stranger = (
        "import asyncio, concurrent.futures.thread, os, docker\n"
        "from deepmath import errors\n"
        "from deepmath_executor.docker_client import DockerClient\n"
        "os.setgroups([]); os.setuid(65534)\n"
        "try: asyncio.run(DockerClient.connect())\n"
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


async def test_container_that_holds_more_than_the_rest_of_the_memory_is_evicted(image, tmp_path):
    options = ("--backend=docker", f"--image={image}", "--waiting-sandboxes=1", f"--max-total-memory-bytes={1 << 30}")
    async with running(tmp_path, *options) as executor, executor.session() as first, executor.session() as second:
        take = "x = bytearray(b'x') * (300 << 20)\nlen(x) >> 20"
        assert [(await session.run(take)).value for session in (first, second)] == ["300", "300"]
        lost = await first.run("len(x)")
        assert (lost.outcome, lost.state_lost) == (pb.OUTCOME_SANDBOX_FAILED, True)
        assert (await second.run("len(x) >> 20")).value == "300"


async def test_total_memory_too_small_for_a_container_is_reported(image):
    ended = await serve(f"--image={image}", f"--max-total-memory-bytes={100 << 20}", "--check")
    assert ended.status == 1
    assert "the containers together use all of their 100 MiB" in ended.err
