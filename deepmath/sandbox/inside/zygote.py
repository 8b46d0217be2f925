"""The process that sandboxes are forked from; `fork_server.py` is its other side.

Theory of operation
-------------------
The supervisor starts a launcher by exec, so that nothing of the supervisor's memory, environment or descriptors is
in it. No process here ever has a second thread. The launcher enters the namespaces while it is small and forks the
reaper, process 1 of the new pid namespace, which forks the zygote and from then on only reaps. The zygote loads the
maths libraries, gives up the view of the file system and then every privilege, and forks a sandbox when asked to:
not as its own child but as the reaper's, so that sandboxes live on when the zygote dies or is replaced.

    supervisor -- exec --> launcher -- fork --> reaper (process 1) -- fork --> zygote
                                                                   `-- fork by the zygote --> sandbox, sandbox, ...

On the zygote's socket (SOCK_SEQPACKET, JSON) travel
    zygote      {"layers": [...], "versions": {...}} with its pidfd once, or {"unavailable": REASON} and it exits
    supervisor  {"fork": ID} with the sandbox's ends of its control socket, stdout and stderr
    zygote      {"forked": ID, "pid": PID} with a pidfd, or {"refused": ID, "reason": ...}
and on the reaper's, how each sandbox ended (`reaper.py`). When the supervisor hangs up or dies, the reaper exits, and
with process 1 all of the namespace dies.

At level "pod", for kernels that refuse user namespaces, the launcher is the reaper: Landlock, seccomp and the resource
limits are the walls, and the parent-death signal takes the place of the pid namespace.
In a container (`containers.py`) the launcher is the container's process 1. It connects to the supervisor's socket
instead of inheriting its descriptors, and ends with the first sandbox.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from deepmath.sandbox import hugepages
from deepmath.sandbox.inside import runner, soft_timeout
from deepmath.sandbox.inside.reaper import Reaper
from deepmath.sandbox.isolation import landlock, namespaces, rootfs, seccomp, syscalls
from deepmath.sandbox.isolation.layers import IsolationLayer
from deepmath.sandbox.isolation.lockdown import Lockdown, drop_privileges
from deepmath.sandbox.zygote_protocol import MOST_MESSAGE_BYTES, ZygoteSettings

_ENDS = 3  # descriptors that come with a request to fork
# Capabilities by number, <linux/capability.h>: KILL, SETGID, SETUID, SETPCAP and SYS_RESOURCE let the supervisor
# govern processes of another user, so that sandboxes can be one.
_TO_GOVERN_ANOTHER_USER = sum(1 << number for number in (5, 6, 7, 8, 24))


class Zygote:
    """Forks sandboxes on request."""

    def __init__(self, control: socket.socket, lockdown: Lockdown, allowed_modules: tuple[str, ...]) -> None:
        self._control = control
        self._lockdown = lockdown
        self._allowed_modules = allowed_modules

    def serve(self) -> None:
        """Serve until the supervisor hangs up."""
        while request := self._receive():
            data, ends = request
            self._fork(json.loads(data)["fork"], ends)
            for end in ends:
                os.close(end)

    def _receive(self) -> tuple[bytes, list[int]] | None:
        try:
            data, ends, _, _ = socket.recv_fds(self._control, MOST_MESSAGE_BYTES, _ENDS)
        except ConnectionError:
            return None
        return (data, ends) if data else None

    def _fork(self, identity: int, ends: list[int]) -> None:
        try:
            pid, pidfd = syscalls.fork_sibling()
        except OSError as error:
            self._send({"refused": identity, "reason": error.strerror})
            return
        if pid == 0:
            self._become_sandbox(*ends)
        self._send({"forked": identity, "pid": pid}, pidfd)
        os.close(pidfd)

    def _become_sandbox(self, control: int, stdout: int, stderr: int) -> NoReturn:
        try:
            self._control.detach()  # lest the object close whatever gets its number
            signal.signal(signal.SIGALRM, soft_timeout.interrupt)
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
    """Become reaper and zygote: at level "full", or at level "pod" where `refusal` says why there is no better.

    `supervisor` is the process id of the parent, 0 where that is outside of this pid namespace; `once` is for a tree
    of one sandbox.
    """
    syscalls.die_with_parent(supervisor)
    _offer_to_oom_killer()
    outside = namespaces.identities()
    if not refusal:
        namespaces.enter()
        _become_first_process(report, control)
        supervisor = 0
    nobody = _may_become_nobody(own_namespace=not refusal)
    reaper = os.getpid()
    if zygote := os.fork():
        control.close()
        _give_up_privileges(nobody, parent=supervisor)
        Reaper(report, zygote, once).serve()
        os._exit(0)
    report.close()
    syscalls.die_with_parent(reaper)
    # Huge pages cost more than they save a single sandbox, or one without libraries.
    if use_huge_pages := bool(settings.preload.modules) and not once:
        hugepages.reserve_arenas()
    try:
        versions = settings.preload.load()
    except Exception as error:
        control.send(json.dumps({"preload_failed": f"{type(error).__name__}: {error}"}).encode())
        raise
    gc.collect()
    gc.freeze()  # keeps the garbage collector of the sandboxes off the pages that they share
    if use_huge_pages:
        hugepages.collapse()
    program, seccomp_layer = _compile_filter()
    paths = rootfs.python_paths()
    layers = [*_namespace_layers(outside, refusal, paths), seccomp_layer]
    if not refusal:
        rootfs.pivot(paths)
    rules, landlock_layer = _prepare_landlock(paths)
    _give_up_privileges(nobody, parent=reaper)
    hello = json.dumps({"layers": [*layers, landlock_layer], "versions": versions}).encode()
    socket.send_fds(control, [hello], [os.pidfd_open(os.getpid())])
    Zygote(control, Lockdown(rules, program, reaper), settings.allowed_modules).serve()


def _give_up_privileges(become_nobody: bool, parent: int) -> None:
    drop_privileges(become_nobody)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.die_with_parent(parent)  # a change of identity undoes it


def _offer_to_oom_killer() -> None:
    """When the machine runs out of memory a sandbox shall go, not the supervisor: a preference, no wall."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _become_first_process(*sockets: socket.socket) -> None:
    child = os.fork()
    if child:
        for end in sockets:
            end.close()
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    syscalls.die_with_parent(0)


def _may_become_nobody(own_namespace: bool) -> bool:
    if os.geteuid() != 0 or own_namespace:
        return os.geteuid() == 0
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    governs = int(fields["CapEff"], 16) & _TO_GOVERN_ANOTHER_USER == _TO_GOVERN_ANOTHER_USER
    return governs and namespaces.nobody_is_mapped()


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
            name="landlock", in_force=False, detail=f"{error.strerror}; it takes Linux 5.13 and `lsm=landlock,...`"
        )
    return rules, IsolationLayer(
        name="landlock", in_force=True, detail=f"ABI {version}, reads the Python installation only"
    )


def _namespace_layers(outside: dict[str, int], refusal: str, paths: list[Path]) -> list[IsolationLayer]:
    """One layer for each namespace that is not the one in `outside`, and the root they make possible."""
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
    sys.argv[:] = sys.orig_argv[:] = [""]  # they tell a snippet about the host
    try:
        main(report, control, supervisor, refusal, settings, once)
    except OSError as error:
        with contextlib.suppress(OSError):  # in the reaper it is closed
            control.send(json.dumps({"unavailable": str(error)}).encode())
        raise SystemExit(1) from None


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    return connection


if __name__ == "__main__":
    _run()
