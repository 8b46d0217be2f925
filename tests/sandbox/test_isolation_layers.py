"""Each isolation layer alone: an attempt fails with the layer and works without it. All together: `test_attacks_*`."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.world_readable import open_to_everyone

from deepmath.sandbox.isolation.layers import IsolationLayer, Level, from_status, missing_for
from deepmath.sandbox.isolation.namespaces import NOBODY

ROOT = Path(__file__).resolve().parents[2]
NO_NEW_PRIVILEGES = "syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)\n"
SETUP = """
import ctypes, errno, json, mmap, os, resource, signal, socket, sys
from pathlib import Path
from deepmath.sandbox.isolation import landlock, lockdown, namespaces, rootfs, seccomp, syscalls
libc = ctypes.CDLL(None, use_errno=True)
set_name = socket.sethostname
def enter(*names):
    socket.sethostname = set_name if "uts" in names else lambda name: None
    namespaces.FLAGS = {name: flag for name, flag in namespaces.FLAGS.items() if name in ("user", *names)}
    namespaces.enter()
def attempt(action):
    try:
        action()
    except (OSError, MemoryError) as error:
        print("failed:", type(error).__name__, errno.errorcode.get(getattr(error, "errno", 0) or 0, ""))
    else:
        print("worked")
    sys.stdout.flush()
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
"""
LAYERS = {
    "landlock": NO_NEW_PRIVILEGES + "landlock.restrict(landlock.ruleset(rootfs.python_paths()))",
    "seccomp": NO_NEW_PRIVILEGES + "seccomp.load(seccomp.compile_filter())",
    "network_namespace": "enter('network')",
    "ipc_namespace": "enter('ipc')",
    "uts_namespace": "enter('uts')",
    "pid_namespace": "enter('pid')",
    "minimal_root": "paths = rootfs.python_paths()\nenter('mount')\nrootfs.pivot(paths)",
    "user_namespace": "enter()",
    "capabilities": "lockdown.drop_privileges(become_nobody=False)",
    "unprivileged_user": "lockdown.drop_privileges(become_nobody=True)",
    "address_space": "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))",
    "descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "file_size": "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)",
    "processor_time": "resource.setrlimit(resource.RLIMIT_CPU, (1, 1))",
}
READ_PASSWORDS = "attempt(lambda: open('/etc/passwd').read())"
CONNECT = "attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 2))"
# name: (layer, attempt, output of the attempt with the layer)
STOPPED = {
    "landlock_reading_a_file": ("landlock", READ_PASSWORDS, "failed: PermissionError EACCES"),
    "landlock_listing_the_root": ("landlock", "attempt(lambda: os.listdir('/'))", "failed: PermissionError EACCES"),
    "landlock_writing_a_file": (
        "landlock",
        "attempt(lambda: open('{folder}/new', 'w'))",
        "failed: PermissionError EACCES",
    ),
    "landlock_connecting_to_a_port": ("landlock", CONNECT, "failed: PermissionError EACCES"),
    "landlock_listening_on_a_port": (
        "landlock",
        "attempt(lambda: socket.create_server(('127.0.0.1', 0)))",
        "failed: PermissionError EACCES",
    ),
    "landlock_signalling_the_parent": (
        "landlock",
        "attempt(lambda: os.kill(os.getppid(), signal.SIGCONT))",
        "failed: PermissionError EPERM",
    ),
    "landlock_reaching_an_abstract_socket": (
        "landlock",
        "attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0{abstract}'))",
        "failed: PermissionError EPERM",
    ),
    "seccomp_opening_for_writing": (
        "seccomp",
        "attempt(lambda: open('{folder}/new', 'w'))",
        "failed: PermissionError EPERM",
    ),
    "seccomp_creating_a_folder": (
        "seccomp",
        "attempt(lambda: os.mkdir('{folder}/new'))",
        "failed: PermissionError EPERM",
    ),
    "seccomp_forking": ("seccomp", "attempt(lambda: os.fork() or os._exit(0))", "failed: PermissionError EPERM"),
    "seccomp_mapping_executable_memory": (
        "seccomp",
        "attempt(lambda: mmap.mmap(-1, 4096, prot=7))",
        "failed: PermissionError EPERM",
    ),
    "seccomp_replacing_a_signal_handler": (
        "seccomp",
        "attempt(lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN))",
        "failed: PermissionError EPERM",
    ),
    "network_namespace_connecting_to_a_port": ("network_namespace", CONNECT, "failed: OSError ENETUNREACH"),
    "network_namespace_reaching_an_abstract_socket": (
        "network_namespace",
        "attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0{abstract}'))",
        "failed: ConnectionRefusedError ECONNREFUSED",
    ),
    "ipc_namespace_finding_shared_memory": (
        "ipc_namespace",
        "attempt(lambda: checked(libc.shmget({shared}, 1, 0)))",
        "failed: FileNotFoundError ENOENT",
    ),
    "uts_namespace_reading_the_host_name": (
        "uts_namespace",
        "attempt(lambda: os.uname().nodename == 'sandbox' and checked(-1))",
        "failed: OSError ",
    ),
    "pid_namespace_signalling_a_process": (
        "pid_namespace",
        "parent = os.getpid()\nchild = os.fork()\nif child: os.waitpid(child, 0); os._exit(0)\n"
        "attempt(lambda: os.kill({victim}, 0))",
        "failed: ProcessLookupError ESRCH",
    ),
    "minimal_root_reading_a_file": ("minimal_root", READ_PASSWORDS, "failed: FileNotFoundError ENOENT"),
    "minimal_root_writing_into_the_library": (
        "minimal_root",
        "attempt(lambda: os.utime(os.__file__))",
        "failed: OSError EROFS",
    ),
    "user_namespace_setting_the_host_name": (
        "user_namespace",
        "name = socket.gethostname()\nattempt(lambda: set_name(name))",
        "failed: PermissionError EPERM",
    ),
    "capabilities_changing_an_owner": (
        "capabilities",
        "attempt(lambda: os.chown('{folder}/file', 1, 1))",
        "failed: PermissionError EPERM",
    ),
    "unprivileged_user_reading_a_private_file": (
        "unprivileged_user",
        "attempt(lambda: open('{folder}/file').read())",
        "failed: PermissionError EACCES",
    ),
    "address_space_taking_memory": ("address_space", "attempt(lambda: bytes(2 << 30))", "failed: MemoryError "),
    "descriptors_opening_many_files": (
        "descriptors",
        "keep = []\nattempt(lambda: [keep.append(os.dup(0)) for _ in range(100)])",
        "failed: OSError EMFILE",
    ),
    "file_size_writing_a_byte": (
        "file_size",
        "attempt(lambda: Path('{folder}/new').write_text('x'))",
        "failed: OSError EFBIG",
    ),
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", SETUP + code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )


@pytest.fixture
def targets(tmp_path):
    """Targets on the host: a listener, an abstract socket, shared memory, a process, a folder."""
    import ctypes

    libc = ctypes.CDLL(None)
    abstract = f"deepmath-test-{os.getpid()}"
    key = os.getpid()
    segment = libc.shmget(key, 4096, 0o1666)  # IPC_CREAT
    victim = subprocess.Popen(["sleep", "60"])
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0{abstract}")
        unix.listen()
        yield {
            "port": listener.getsockname()[1],
            "abstract": abstract,
            "shared": key,
            "victim": victim.pid,
            "folder": tmp_path,
        }
    libc.shmctl(segment, 0, None)  # IPC_RMID
    victim.kill()
    victim.wait()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, or the attempt fails without the layer too")


@needs_root
@pytest.mark.parametrize("name", STOPPED)
def test_layer_alone_stops_what_works_without_it(name, targets) -> None:
    layer, attempt, answer = STOPPED[name]
    attempt = attempt.format(**targets)
    assert run(attempt).stdout == "worked\n"
    new = targets["folder"] / "new"
    new.rmdir() if new.is_dir() else new.unlink(missing_ok=True)
    stopped = run(f"{LAYERS[layer]}\n{attempt}")
    assert stopped.stdout.strip() == answer.strip(), stopped.stderr


def test_seccomp_alone_kills_a_process_that_opens_a_socket() -> None:
    assert run(LAYERS["seccomp"] + "\nlibc.socket(2, 1, 0)").returncode == -signal.SIGSYS


def test_processor_time_alone_ends_a_loop() -> None:
    assert run(LAYERS["processor_time"] + "\nwhile True: pass").returncode in (-signal.SIGXCPU, -signal.SIGKILL)


@needs_root
def test_no_new_privileges_alone_disables_setuid_programs(tmp_path) -> None:
    program = tmp_path / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    open_to_everyone(tmp_path)
    become = f"lockdown.drop_privileges(become_nobody=True)\nos.execv('{program}', ['id', '-u'])"
    assert run(become).stdout == "0\n"
    assert run(NO_NEW_PRIVILEGES + become).stdout == f"{NOBODY}\n"


@needs_root
def test_non_dumpable_process_is_hidden_from_others_of_its_user() -> None:
    look = """
lockdown.drop_privileges(become_nobody=True)
syscalls.prctl(syscalls.PR_SET_DUMPABLE, {dumpable})
child = os.fork()
if child == 0:
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    attempt(lambda: open(f"/proc/{{os.getppid()}}/environ", "rb").read())
    os._exit(0)
os.waitpid(child, 0)
"""
    assert run(look.format(dumpable=1)).stdout == "worked\n"
    assert run(look.format(dumpable=0)).stdout == "failed: PermissionError EACCES\n"


@pytest.mark.parametrize("users", ["0 0 0 0", "0 65534 65534 65534", "65534 0 65534 65534", "65534 65534 0 65534"])
@pytest.mark.parametrize("level", ["pod", "full"])
def test_no_level_accepts_a_sandbox_that_is_root_or_can_become_it(users: str, level: Level) -> None:
    status = {"Uid": users, "NoNewPrivs": "1", **dict.fromkeys(("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"), "0")}
    held = [IsolationLayer(name=name, in_force=True, detail="") for name in ("landlock", "seccomp", "resource_limits")]
    assert "no unprivileged_user (sandboxes would run as root" in missing_for(level, [*held, *from_status(status)])
    assert not missing_for(level, [*held, *from_status(status | {"Uid": "65534 65534 65534 65534"})])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as root without capabilities")
@pytest.mark.parametrize("dropped", ["all", "setuid", "kill"])
def test_root_that_cannot_become_nobody_starts_no_sandbox(dropped: str) -> None:
    script = """
import asyncio
from deepmath.errors import Unavailable
from deepmath.sandbox import NOTHING, NativeBackend, SandboxPool

async def main():
    async with SandboxPool(NativeBackend(level="pod", preload=NOTHING)) as pool:
        print(await pool.run("1"))

try:
    asyncio.run(main())
except Unavailable as error:
    print(error)
"""
    drop = [f"--bounding-set=-{dropped}", f"--inh-caps=-{dropped}"]
    ended = subprocess.run(
        ["setpriv", *drop, sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "isolation level 'pod' is not available here: no unprivileged_user (sandboxes would run as" in ended.stdout
