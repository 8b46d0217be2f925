"""Level full in containers as the component level-full runs them: every layer is in force, without any capability."""

from pathlib import Path

import pytest
from support.user_namespace import FIRST_USER

from deepmath.executor.v1 import executor_pb2 as pb

from .conftest import FULL_IMAGES

pytestmark = pytest.mark.slow

KINDS = FULL_IMAGES


async def test_every_layer_is_in_force(executor) -> None:
    layers = (await executor.stub.GetInfo(pb.GetInfoRequest())).layers
    assert [layer.name for layer in layers if not layer.in_force] == ["cgroup"]
    assert {"user_namespace", "pid_namespace", "minimal_root", "landlock"} <= {layer.name for layer in layers}


async def test_supervisor_has_no_capability(executor) -> None:
    assert capabilities(executor.pid) == {"0" * 16}


@pytest.mark.parametrize("name", ["user", "mnt", "net", "pid", "ipc", "uts"])
async def test_sandboxes_have_namespaces_of_their_own(executor, name: str) -> None:
    assert namespace(executor.pid, name) != namespace(executor.sandboxes()[0], name)


async def test_user_of_a_container_in_a_user_namespace_has_another_number_on_the_node(executor) -> None:
    in_namespace = KINDS[1] in executor.log.parts[-2]
    assert user_on_the_node(executor.pid) == 65_534 + (FIRST_USER if in_namespace else 0)


def user_on_the_node(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def capabilities(pid: int) -> set[str]:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")}


def namespace(pid: int, name: str) -> Path:
    return Path(f"/proc/{pid}/ns/{name}").readlink()
