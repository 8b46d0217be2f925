"""The process that sandboxes are forked from. The supervisor's side of it is `fork_server.py`.

Theory of operation
-------------------
The supervisor starts a launcher by exec, so that none of the supervisor's memory, environment or descriptors is in it.
No process here ever has a second thread. The launcher enters the namespaces while it is small and forks the reaper,
process 1 of the new pid namespace, which forks the zygote and from then on only reaps. The zygote loads the preload
set, gives up its view of the file system and then every privilege, and forks a sandbox on request: as a child of the
reaper, not its own, so that sandboxes outlive a zygote that dies or is replaced.

    supervisor -- exec --> launcher -- fork --> reaper (process 1) -- fork --> zygote
                                                                   `-- fork by the zygote --> sandbox, sandbox, ...

Messages on the zygote's socket (SOCK_SEQPACKET, JSON):
    zygote      {"layers": [...], "versions": {...}} with its pidfd, once; or it exits after {"unavailable": REASON} or
                {"preload_failed": REASON}
    supervisor  {"fork": ID} with the sandbox's ends of its control socket, stdout and stderr
    zygote      {"forked": ID, "pid": PID} with a pidfd, or {"refused": ID, "reason": ...}
The reaper's socket reports how each sandbox ended (`reaper.py`). When the supervisor closes it or dies, the reaper
exits, and with process 1 every process of the namespace dies.

At level "pod", for kernels that refuse user namespaces, the launcher is the reaper: isolation is Landlock, seccomp and
the resource limits, and the parent-death signal takes the place of the pid namespace.
In a container (the executor's `docker_backend.py`) the launcher is the container's process 1. It connects to the
supervisor's socket instead of inheriting its descriptors, and exits with its first sandbox.
"""

import contextlib
import gc
import importlib.util
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from deepmath.sandbox import hugepages
from deepmath.sandbox.allowed_modules import ALLOWED_MODULES
from deepmath.sandbox.inside import runner, soft_timeout
from deepmath.sandbox.inside.host_questions import answer_questions
from deepmath.sandbox.inside.reaper import Reaper
from deepmath.sandbox.isolation import landlock, namespaces, rootfs, seccomp, syscalls
from deepmath.sandbox.isolation.layers import IsolationLayer
from deepmath.sandbox.isolation.lockdown import Lockdown, drop_privileges
from deepmath.sandbox.zygote_protocol import MOST_MESSAGE_BYTES, ZygoteSettings

_DESCRIPTORS_PER_FORK = 3
_REASON_CHARACTERS = 1000
# Capabilities by number, <linux/capability.h>: KILL, SETGID, SETUID and SETPCAP. With them the supervisor can signal
# and limit (`rlimits.py`) processes of another user, so sandboxes can run as one.
_CONTROL_OTHER_USERS = sum(1 << number for number in (5, 6, 7, 8))


class Zygote:
    """Forks sandboxes on request."""

    def __init__(self, control: socket.socket, lockdown: Lockdown, allowed_modules: tuple[str, ...]) -> None:
        self._control = control
        self._lockdown = lockdown
        self._allowed_modules = allowed_modules

    def serve(self) -> None:
        """Serve until the supervisor closes its end."""
        while request := self._receive():
            data, descriptors = request
            self._fork(json.loads(data)["fork"], descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    def _receive(self) -> tuple[bytes, list[int]] | None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, MOST_MESSAGE_BYTES, _DESCRIPTORS_PER_FORK)
        except ConnectionError:
            return None
        return (data, descriptors) if data else None

    def _fork(self, identity: int, descriptors: list[int]) -> None:
        try:
            pid, pidfd = syscalls.fork_sibling()
        except OSError as error:
            self._send({"refused": identity, "reason": error.strerror})
            return
        if pid == 0:
            self._become_sandbox(*descriptors)
        self._send({"forked": identity, "pid": pid}, pidfd)
        os.close(pidfd)

    def _become_sandbox(self, control: int, stdout: int, stderr: int) -> NoReturn:
        try:
            self._control.detach()  # or the object would close whatever descriptor gets its number
            signal.signal(signal.SIGALRM, soft_timeout.handle_alarm)
            self._lockdown.enter(control, stdout, stderr)
            runner.serve(self._allowed_modules)
        finally:
            os._exit(1)

    def _send(self, message: dict[str, Any], *descriptors: int) -> None:
        socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)


def main(
    report: socket.socket,
    control: socket.socket,
    supervisor: int,
    refusal: str,
    settings: ZygoteSettings,
    once: bool = False,
) -> None:
    """Become reaper and zygote.

    Args:
        report: Socket of the reaper.
        control: Socket of the zygote.
        supervisor: Process id of the parent; 0 if that is outside this pid namespace.
        refusal: Reason for level "pod"; empty for level "full".
        settings: Preload set and allowed modules.
        once: Exit with the first sandbox.
    """
    syscalls.die_with_parent(supervisor)
    _prefer_for_oom_kill()
    outside = namespaces.identities()
    if not refusal:
        namespaces.enter()
        _become_first_process(report, control)
        supervisor = 0
    nobody = _can_become_nobody(own_namespace=not refusal)
    reaper_pid = os.getpid()
    if zygote := os.fork():
        control.close()
        _give_up_privileges(nobody, parent=supervisor)
        reaper = Reaper(report, zygote, once)
        reaper.serve()
        if refusal:
            reaper.end_children()
        os._exit(0)
    report.close()
    syscalls.die_with_parent(reaper_pid)
    # Huge pages cost more than they save a single sandbox, or one without libraries.
    versions = _load(settings, control, huge_pages=bool(settings.preload.modules) and not once)
    program, rules, layers = _prepare_layers(outside, refusal)
    _give_up_privileges(nobody, parent=reaper_pid)
    greeting = json.dumps({"layers": layers, "versions": versions}).encode()
    socket.send_fds(control, [greeting], [os.pidfd_open(os.getpid())])
    Zygote(control, Lockdown(rules, program, reaper_pid), settings.allowed_modules).serve()


def _load(settings: ZygoteSettings, control: socket.socket, huge_pages: bool) -> dict[str, str]:
    if huge_pages:
        hugepages.reserve_arenas()
    answer_questions()
    try:
        versions = settings.preload.load()
    except Exception as error:
        reason = f"the preload set could not be loaded: {type(error).__name__}: {error}"[:_REASON_CHARACTERS]
        if isinstance(error, ModuleNotFoundError):
            reason += "; install it for the sandboxes"
        control.send(json.dumps({"preload_failed": reason}).encode())
        raise
    if missing := _missing_modules(settings.allowed_modules):
        names = ", ".join(missing)
        reason = f"allowed modules are not installed for the sandboxes: {names}; install them, or do not allow them"
        control.send(json.dumps({"preload_failed": reason}).encode())
        raise SystemExit(1)
    gc.collect()
    gc.freeze()  # keeps the garbage collector of the sandboxes off the pages that they share
    if huge_pages:
        hugepages.collapse()
    return versions


def _missing_modules(allowed: tuple[str, ...]) -> list[str]:
    """Return the modules that are allowed on request but not installed."""
    requested = set(allowed) - set(ALLOWED_MODULES) - set(sys.modules)
    return sorted(name for name in requested if importlib.util.find_spec(name) is None)


def _prepare_layers(outside: dict[str, int], refusal: str) -> tuple[bytes | None, int | None, list[IsolationLayer]]:
    """Enter the minimal root; return seccomp filter and Landlock rules (None where missing), and all layers."""
    program, seccomp_layer = _compile_filter()
    paths = rootfs.python_paths()
    layers = [*_namespace_layers(outside, refusal, paths), seccomp_layer]
    if not refusal:
        rootfs.pivot(paths)
    rules, landlock_layer = _prepare_landlock(paths)
    return program, rules, [*layers, landlock_layer]


def _give_up_privileges(become_nobody: bool, parent: int) -> None:
    drop_privileges(become_nobody)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.die_with_parent(parent)  # cleared by the change of identity


def _prefer_for_oom_kill() -> None:
    """Make the kernel's OOM killer prefer these processes to the supervisor. A preference, not an isolation layer."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _become_first_process(*sockets: socket.socket) -> None:
    child = os.fork()
    if child:
        for connection in sockets:
            connection.close()
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    syscalls.die_with_parent(0)


def _can_become_nobody(own_namespace: bool) -> bool:
    if os.geteuid() != 0 or own_namespace:
        return os.geteuid() == 0
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    in_control = int(fields["CapEff"], 16) & _CONTROL_OTHER_USERS == _CONTROL_OTHER_USERS
    return in_control and namespaces.nobody_is_mapped()


def _compile_filter() -> tuple[bytes | None, IsolationLayer]:
    try:
        program = seccomp.compile_filter()
    except (OSError, RuntimeError, ImportError) as error:
        return None, IsolationLayer(
            name="seccomp", in_force=False, detail=f"{error}; install libseccomp2 and pyseccomp"
        )
    return program, IsolationLayer(
        name="seccomp", in_force=True, detail=f"allow-list, {len(program) // 8} instructions"
    )


def _prepare_landlock(paths: list[Path]) -> tuple[int | None, IsolationLayer]:
    try:
        rules, version = landlock.ruleset(paths), landlock.abi()
    except OSError as error:
        return None, IsolationLayer(
            name="landlock",
            in_force=False,
            detail=f"{error.strerror}; needs Linux 5.13, `lsm=landlock,...`, and a seccomp profile of the "
            "container that allows it",
        )
    return rules, IsolationLayer(
        name="landlock", in_force=True, detail=f"ABI {version}, reads the Python installation only"
    )


def _namespace_layers(outside: dict[str, int], refusal: str, paths: list[Path]) -> list[IsolationLayer]:
    """Return one layer per namespace, in force if it differs from the one in `outside`, and the minimal root."""
    inside = namespaces.identities()
    layers = []
    for name, identity in inside.items():
        own = identity != outside[name]
        layers.append(IsolationLayer(name=f"{name}_namespace", in_force=own, detail="own" if own else refusal))
    root = refusal or f"{len(paths)} folders of the Python installation, read-only"
    return [*layers, IsolationLayer(name="minimal_root", in_force=not refusal, detail=root)]


def _run() -> None:
    if sys.argv[1] == "--connect":
        report, control = (_connect(sys.argv[2]) for _ in range(2))
        supervisor, refusal, once = 0, "this is a container", True
        settings = ZygoteSettings.from_argument(sys.argv[3])
    else:
        report, control = (socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[1:3])
        supervisor, refusal, once = int(sys.argv[3]), sys.argv[4], False
        settings = ZygoteSettings.from_argument(sys.argv[5])
    sys.argv[:] = sys.orig_argv[:] = [""]  # they would tell a snippet about the host
    try:
        main(report, control, supervisor, refusal, settings, once)
    except OSError as error:
        with contextlib.suppress(OSError):  # closed in the reaper
            control.send(json.dumps({"unavailable": str(error)}).encode())
        raise SystemExit(1) from None


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    return connection


if __name__ == "__main__":
    _run()
