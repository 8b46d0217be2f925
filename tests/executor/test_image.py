"""The executor's image as deployed: its contents, and the system calls its seccomp profiles allow."""

import errno
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.docker_engine import FULL_PROFILE, HARDENED, HARDENED_FULL, PROFILE, ROOT, docker

pytestmark = pytest.mark.slow

LARGEST_BYTES = 450_000_000
READY_SECONDS = 60
# Runs in the container, against its service.
EXECUTE = """
import asyncio, sys
from deepmath.clients import ExecutorClient
from google.protobuf import json_format

async def main():
    async with ExecutorClient("127.0.0.1:7301") as client:
        print(json_format.MessageToJson(await client.execute(sys.argv[1])))

asyncio.run(main())
"""
# name: arguments. Without the profile each call succeeds or fails with an error other than EPERM.
FORBIDDEN = {
    "mount": (0, 0, 0, 0, 0),
    "umount2": (0, 0),
    "chroot": (0,),
    "open_tree": (-100, 0, 0),
    "mount_setattr": (-1, 0, 0, 0, 0),
    "unshare": (0x10000000,),
    "setns": (-1, 0),
    "ptrace": (0, 0, 0, 0),
    "process_vm_readv": (1, 0, 0, 0, 0, 0),
    "process_vm_writev": (1, 0, 0, 0, 0, 0),
    "process_madvise": (-1, 0, 0, 0, 0),
    "pidfd_getfd": (-1, 0, 0),
    "kcmp": (0, 0, 0, 0, 0),
    "bpf": (0, 0, 0),
    "perf_event_open": (0, 0, -1, -1, 0),
    "keyctl": (0,),
    "add_key": (0, 0, 0, 0, 0),
    "request_key": (0, 0, 0, 0),
    "io_uring_setup": (1, 0),
    "io_uring_enter": (-1, 0, 0, 0, 0, 0),
    "io_uring_register": (-1, 0, 0, 0),
    "userfaultfd": (1,),
    "kexec_load": (0, 0, 0, 0),
    "kexec_file_load": (-1, -1, 0, 0, 0),
    "init_module": (0, 0, 0),
    "finit_module": (-1, 0, 0),
    "delete_module": (0, 0),
    "personality": (0x0040000,),
    "name_to_handle_at": (-1, 0, 0, 0, 0),
    "open_by_handle_at": (-1, 0, 0),
    "quotactl": (0, 0, 0, 0),
    "iopl": (3,),
    "ioperm": (0, 1, 1),
    "modify_ldt": (0, 0, 0),
    "clock_settime": (0, 0),
    "mbind": (0, 0, 0, 0, 0, 0),
    "move_pages": (0, 0, 0, 0, 0, 0),
    "shmget": (0, 4096, 0o1600),
    "msgget": (0, 0o1600),
    "semget": (0, 1, 0o1600),
    "mq_open": (0, 0, 0, 0),
    "mknodat": (-100, 0, 0, 0),
    "linkat": (-100, 0, -100, 0, 0),
    "symlinkat": (0, -100, 0),
}
SOCKET_FAMILIES = {"netlink": 16, "vsock": 40, "bluetooth": 31, "alg": 38, "tipc": 30}
# Combined with CLONE_NEWUSER, so that they need no privilege.
NAMESPACES = {
    "user": 0,
    "network": 0x40000000,
    "mount": 0x00020000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "pid": 0x20000000,
    "cgroup": 0x02000000,
}
# Refused even without the profile, for lack of a capability; the test looks for them in the profile itself.
NEVER_ALLOWED = {
    *("pivot_root", "move_mount", "fsopen", "fsmount", "fsconfig", "fspick", "fanotify_init", "swapon", "swapoff"),
    *(
        "acct",
        "reboot",
        "settimeofday",
        "adjtimex",
        "clock_adjtime",
        "sethostname",
        "setdomainname",
        "syslog",
        "vhangup",
    ),
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid"),
    *("chown", "fchown", "lchown", "fchownat", "mknod", "nfsservctl", "lookup_dcookie", "get_kernel_syms"),
}
# These are in the profile of level full: a zygote has the capability in its own user namespace.
NEEDED_FOR_NAMESPACES = {"pivot_root", "move_mount", "sethostname"}
# Runs in the container with the tables above on stdin; prints the errno of each call, 0 for success.
PROBE_CALLS = """
import ctypes, json, os, pyseccomp, signal, sys

libc = ctypes.CDLL(None, use_errno=True)
USER = 0x10000000

def call(name, *arguments):
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    if child := os.fork():  # isolates the effects of a call that succeeds
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    os._exit(ctypes.get_errno())

calls, families, namespaces = json.load(sys.stdin)
print(json.dumps({
    **{name: call(name, *arguments) for name, arguments in calls.items()},
    **{f"socket {name}": call("socket", number, 3, 0) for name, number in families.items()},
    **{f"clone {name}": call("clone", USER | flag | signal.SIGCHLD, 0, 0, 0, 0) for name, flag in namespaces.items()},
    "clone3": call("clone3", 0, 0),
    "prctl PR_SET_TSC": call("prctl", 26, 1, 0, 0, 0),
    "ioctl TIOCSTI": call("ioctl", 0, 0x5412, 0),
}))
"""


@pytest.fixture(scope="module", params=[HARDENED, HARDENED_FULL], ids=["pod", "full"])
def refusals(request, image) -> dict[str, int]:
    """Errno of each forbidden call under a level's profile, in a Python without any other restriction."""
    options = ("--rm", "--interactive", "--network=none", *request.param, "--entrypoint=python")
    tables = json.dumps([FORBIDDEN, SOCKET_FAMILIES, NAMESPACES])
    tried = docker("run", *options, image, "-c", PROBE_CALLS, stdin=tables)
    assert tried.returncode == 0, tried.stderr
    return json.loads(tried.stdout)


@pytest.fixture(scope="module")
def service(image) -> Iterator[str]:
    """A container that serves as in a pod, without a network."""
    container = docker(
        "run", "--detach", "--network=none", *HARDENED, image, "--require=pod", "--insecure"
    ).stdout.strip()
    try:
        deadline = time.monotonic() + READY_SECONDS
        while (
            docker("exec", container, "python", "-m", "deepmath.serving.health_check", "127.0.0.1:7301").returncode != 0
        ):
            assert time.monotonic() < deadline, docker("logs", container).stderr
            time.sleep(0.5)
        yield container
    finally:
        docker("rm", "--force", container)


@pytest.fixture(scope="module")
def settings(image) -> dict[str, Any]:
    return json.loads(docker("image", "inspect", image).stdout)[0]


def in_image(image: str, *command: str) -> subprocess.CompletedProcess[str]:
    return docker("run", "--rm", "--network=none", f"--entrypoint={command[0]}", image, *command[1:])


def test_image_is_small(settings) -> None:
    assert settings["Size"] < LARGEST_BYTES


@pytest.mark.parametrize(
    "module", ["torch", "vllm", "transformers", "pip", "ensurepip", "setuptools", "docker", "deepmath_generator"]
)
def test_image_lacks_modules_it_does_not_need(image, module: str) -> None:
    tried = in_image(image, "python", "-c", f"import {module}")
    assert "ModuleNotFoundError" in tried.stderr


def test_image_has_no_compiler_and_no_installer(image) -> None:
    tools = "{'gcc', 'g++', 'cc', 'c++', 'clang', 'tcc', 'as', 'ld', 'make', 'pip', 'pip3', 'uv'}"
    code = f"import shutil; print([tool for tool in {tools} if shutil.which(tool)])"
    assert in_image(image, "python", "-c", code).stdout.strip() == "[]"


def test_image_runs_as_nobody(settings) -> None:
    assert settings["Config"]["User"] == "65534:65534"


def test_image_stops_on_sigterm(settings) -> None:
    assert settings["Config"]["StopSignal"] == "SIGTERM"


def test_image_names_its_licence_and_version(settings) -> None:
    labels = settings["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"]


def test_image_contains_all_bytecode(image) -> None:
    """With a read-only root, source without bytecode would be compiled at every start."""
    code = (
        "import sys; from deepmath.sandbox import MATHS; MATHS.load(); import importlib.util, os;"
        "print([n for n, m in list(sys.modules.items()) if (s := getattr(m, '__spec__', None)) and s.cached and"
        " s.origin.endswith('.py') and not os.path.exists(s.cached)])"
    )
    assert in_image(image, "python", "-c", code).stdout.strip() == "[]"


def test_service_in_a_container_runs_a_snippet(service) -> None:
    ran = docker("exec", service, "python", "-c", EXECUTE, "import sympy; sympy.factorint(360)")
    assert json.loads(ran.stdout)["value"] == "{2: 3, 3: 2, 5: 1}"


def test_service_in_a_container_confines_a_snippet_with_landlock(service) -> None:
    code = "import random; os = random._os\ntry: os.listdir('/venv/..')\nexcept OSError as error: print(error.errno)"
    assert json.loads(docker("exec", service, "python", "-c", EXECUTE, code).stdout)["stdout"] == f"{errno.EACCES}\n"


def test_health_check_fails_without_a_service(service) -> None:
    assert docker("exec", service, "python", "-m", "deepmath.serving.health_check", "127.0.0.1:1").returncode == 1


def test_service_in_a_container_exits_cleanly_when_stopped(image) -> None:
    container = docker(
        "run", "--detach", "--network=none", *HARDENED, image, "--insecure", "--waiting-sandboxes=0"
    ).stdout.strip()
    try:
        while "serving on" not in docker("logs", container).stdout:
            time.sleep(0.2)
        docker("stop", "--time=30", container)
        state = json.loads(docker("inspect", container).stdout)[0]["State"]
    finally:
        docker("rm", "--force", container)
    assert state["ExitCode"] == 0


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_call_is_refused_by_the_profile(refusals, name: str) -> None:
    assert refusals[name] == errno.EPERM


@pytest.mark.parametrize("family", SOCKET_FAMILIES)
def test_socket_of_other_families_is_refused_by_the_profile(refusals, family: str) -> None:
    assert refusals[f"socket {family}"] == errno.EPERM


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_new_namespace_is_refused_by_the_profile(refusals, namespace: str) -> None:
    assert refusals[f"clone {namespace}"] == errno.EPERM


@pytest.mark.parametrize(("profile", "allowed"), [(PROFILE, set()), (FULL_PROFILE, NEEDED_FOR_NAMESPACES)])
def test_profile_allows_no_privileged_call(profile: Path, allowed: set[str]) -> None:
    rules = json.loads(profile.read_text())["syscalls"]
    assert NEVER_ALLOWED.intersection(name for rule in rules for name in rule["names"]) == allowed


def test_profile_of_level_full_is_derived_from_that_of_level_pod(tmp_path: Path) -> None:
    derived = tmp_path / "profile.json"
    subprocess.run([sys.executable, ROOT / "tools/derive_seccomp_profile.py", derived], check=True)
    assert derived.read_text() == FULL_PROFILE.read_text()


def test_profile_of_level_full_adds_only_calls_for_namespaces_and_mounts() -> None:
    pod, full = (json.loads(profile.read_text()) for profile in (PROFILE, FULL_PROFILE))
    rules, more = pod.pop("syscalls"), full.pop("syscalls")
    assert pod == full
    added = [rule for rule in more if rule not in rules]
    assert [rule for rule in more if rule in rules] == rules
    assert {name for rule in added for name in rule["names"]} == NEEDED_FOR_NAMESPACES | {
        *("unshare", "mount", "umount2", "open_tree", "mount_setattr", "mkdir"),
        "mkdirat",  # mkdir on arm64
    }
    assert all("args" in rule for rule in added if {"unshare", "mount"} & set(rule["names"]))


def test_level_full_is_refused_under_the_profile_of_level_pod(image) -> None:
    ended = docker("run", "--rm", "--network=none", *HARDENED, image, "--check", "--require=full", "--preload=none")
    assert ended.returncode == 1
    assert "isolation level 'full' is not available here: no user_namespace" in ended.stderr
    assert "seccomp" in ended.stderr


def test_clone3_fails_with_enosys_because_no_filter_sees_its_flags(refusals) -> None:
    assert refusals["clone3"] == errno.ENOSYS


@pytest.mark.parametrize("request_name", ["prctl PR_SET_TSC", "ioctl TIOCSTI"])
def test_dangerous_request_of_an_allowed_call_is_refused(refusals, request_name: str) -> None:
    assert refusals[request_name] == errno.EPERM
