"""The process that sandboxes are forked from; `fork_server.py` is its other side.

Theory of operation
-------------------
The supervisor starts this process by exec, so that nothing of the supervisor's memory, environment or descriptors is
in it. It has one thread, always. It enters its namespaces while it is small, becomes process 1 of the new pid
namespace, loads the maths libraries, gives up the view of the file system and then every privilege, and from
then on does two things: it forks a sandbox when asked to, and says how one ended. Being process 1 it takes all its
sandboxes with it when it dies, and it dies when the supervisor does.

    supervisor -- exec --> launcher -- fork --> zygote (process 1) -- fork --> sandbox, sandbox, ...

On the control socket (SOCK_SEQPACKET, JSON) travel
    zygote      {"layers": [...], "versions": {...}} once, or {"unavailable": REASON} and it exits
    supervisor  {"fork": ID} with the sandbox's ends of its control socket, stdout and stderr
    zygote      {"forked": ID} with a pidfd, or {"refused": ID, "reason": ...}
    zygote      {"ended": ID, "status": as of waitpid, "cpu_ms": ..., "peak_memory_bytes": ...}

At level "pod", for kernels that refuse user namespaces, the launcher is the zygote: Landlock, seccomp and the resource
limits are the walls, and the parent-death signal takes the place of the pid namespace.
"""

import contextlib
import json
import os
import select
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from deepmath.modules import ALLOWED_MODULES
from services.executor import hugepages, landlock, namespaces, preload, rootfs, runner, seccomp, syscalls
from services.executor.layers import Layer
from services.executor.lockdown import Lockdown, drop_privileges

MOST_MESSAGE_BYTES = 16 << 10
_ENDS = 3  # descriptors that come with a request to fork
# Capabilities by number, <linux/capability.h>: KILL, SETGID, SETUID, SETPCAP and SYS_RESOURCE let the supervisor
# govern processes of another user, so that sandboxes can be one.
_TO_GOVERN_ANOTHER_USER = sum(1 << number for number in (5, 6, 7, 8, 24))


class Zygote:
    """Forks sandboxes on request and reports their ends."""

    def __init__(self, control: socket.socket, lockdown: Lockdown) -> None:
        self._control = control
        self._lockdown = lockdown
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._children: dict[int, tuple[int, int]] = {}  # pidfd: (id, pid)

    def serve(self) -> None:
        """Serve until the supervisor hangs up."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != self._control.fileno():
                    self._reap(descriptor)
                elif not self._answer():
                    return

    def _answer(self) -> bool:
        try:
            data, ends, _, _ = socket.recv_fds(self._control, MOST_MESSAGE_BYTES, _ENDS)
        except ConnectionError:
            return False
        if not data:
            return False
        identity = json.loads(data)["fork"]
        try:
            child = os.fork()
        except OSError as error:
            self._send({"refused": identity, "reason": error.strerror})
        else:
            if child == 0:
                self._become_sandbox(*ends)
            pidfd = os.pidfd_open(child)
            self._children[pidfd] = (identity, child)
            self._poll.register(pidfd, select.POLLIN)
            self._send({"forked": identity}, pidfd)
        for end in ends:
            os.close(end)
        return True

    def _become_sandbox(self, control: int, stdout: int, stderr: int) -> NoReturn:
        try:
            self._control.detach()  # lest the object close whatever gets its number
            self._lockdown.enter(control, stdout, stderr)
            runner.serve(ALLOWED_MODULES)
        finally:
            os._exit(1)

    def _reap(self, pidfd: int) -> None:
        identity, child = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status, usage = os.wait4(child, 0)
        cpu_ms = 1e3 * (usage.ru_utime + usage.ru_stime)
        self._send({"ended": identity, "status": status, "cpu_ms": cpu_ms, "peak_memory_bytes": usage.ru_maxrss << 10})

    def _send(self, message: dict[str, Any], *descriptors: int) -> None:
        socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)


def main(control: socket.socket, supervisor: int, refusal: str) -> None:
    """Become the zygote and serve: at level "full", or at level "pod" where `refusal` says why there is no better."""
    syscalls.die_with_parent(supervisor)
    _offer_to_oom_killer()
    outside = namespaces.identities()
    if not refusal:
        namespaces.enter()
        _become_first_process(control)
    hugepages.reserve_arenas()
    versions = preload.load()
    preload.freeze()
    hugepages.collapse()
    program, seccomp_layer = _compile_filter()
    paths = rootfs.python_paths()
    layers = [*_namespace_layers(outside, refusal, paths), seccomp_layer]
    nobody = _may_become_nobody(own_namespace=not refusal)
    if not refusal:
        rootfs.pivot(paths)
    rules, landlock_layer = _prepare_landlock(paths)
    drop_privileges(nobody)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.die_with_parent(supervisor if refusal else 0)  # a change of identity undoes it
    zygote = Zygote(control, Lockdown(rules, program, os.getpid()))
    control.send(json.dumps({"layers": [*layers, landlock_layer], "versions": versions}).encode())
    zygote.serve()


def _offer_to_oom_killer() -> None:
    """When the machine runs out of memory a sandbox shall go, not the supervisor: a preference, no wall."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _become_first_process(control: socket.socket) -> None:
    child = os.fork()
    if child:
        control.close()
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    syscalls.die_with_parent(0)


def _may_become_nobody(own_namespace: bool) -> bool:
    if os.geteuid() != 0 or own_namespace:
        return os.geteuid() == 0
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    governs = int(fields["CapEff"], 16) & _TO_GOVERN_ANOTHER_USER == _TO_GOVERN_ANOTHER_USER
    return governs and namespaces.nobody_is_mapped()


def _compile_filter() -> tuple[bytes | None, Layer]:
    try:
        program = seccomp.compile_filter()
    except (OSError, RuntimeError, ImportError) as error:
        return None, Layer(name="seccomp", in_force=False, detail=f"{error}; install libseccomp2 and pyseccomp")
    return program, Layer(name="seccomp", in_force=True, detail=f"allow-list, {len(program) // 8} instructions")


def _prepare_landlock(paths: list[Path]) -> tuple[int | None, Layer]:
    try:
        rules, version = landlock.ruleset(paths), landlock.abi()
    except OSError as error:
        return None, Layer(
            name="landlock", in_force=False, detail=f"{error.strerror}; it takes Linux 5.13 and `lsm=landlock,...`"
        )
    return rules, Layer(name="landlock", in_force=True, detail=f"ABI {version}, reads the Python installation only")


def _namespace_layers(outside: dict[str, int], refusal: str, paths: list[Path]) -> list[Layer]:
    """One layer for each namespace that is not the one in `outside`, and the root they make possible."""
    inside = namespaces.identities()
    layers = []
    for name, identity in inside.items():
        own = identity != outside[name]
        layers.append(Layer(name=f"{name}_namespace", in_force=own, detail="own" if own else refusal))
    root = refusal or f"{len(paths)} folders of the Python installation, read-only"
    return [*layers, Layer(name="minimal_root", in_force=not refusal, detail=root)]


def _run() -> None:
    descriptor, supervisor, refusal = sys.argv[1:]
    control = socket.socket(fileno=int(descriptor))
    try:
        main(control, int(supervisor), refusal)
    except OSError as error:
        control.send(json.dumps({"unavailable": str(error)}).encode())


if __name__ == "__main__":
    _run()
