"""The detached stack of a user: found by later commands, started once, and stopped with all that it started.

A process of its own, the keeper (`stack_keeper`), runs the services and removes all that it made when it ends. It holds
the state folder's lock from before its start until its end, so two starts at once make one stack. A killed keeper loses
the lock, and its services get SIGTERM (`service_start`); what is left is a stale record.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from deepmath.errors import InvalidRequest, Unavailable, WrongOrder
from deepmath.local_stack.gateway_key import GatewayKey
from deepmath.local_stack.service_distributions import check_installed
from deepmath.local_stack.stack_keeper import READY, KeeperSettings
from deepmath.local_stack.stack_record import StackRecord, StackSettings
from deepmath.local_stack.state_folder import STATE_VARIABLE, StateFolder

DEFAULT_IDLE_S = 1800.0
_POLL_S = 0.1
_STOP_S = 60.0  # the services' own limits are shorter
_KILL_S = 10.0
_ANSWER_BYTES = 1 << 16


class StackSearch(NamedTuple):
    """The detached stack that serves a request, or the reason why the existing one does not."""

    stack: StackRecord | None = None
    reason: str = ""
    """Empty if there is none at all."""


def find_detached(wanted: StackSettings | None = None) -> StackSearch:
    """Return the detached stack of this user that serves `wanted`, or with None whatever it serves."""
    try:
        record = read_detached()
    except InvalidRequest as error:
        return StackSearch(reason=str(error))
    if record is None or not record.is_ready:
        return StackSearch()
    if not record.keeper.is_running:
        return StackSearch(reason="the detached stack has ended without cleanup")
    if not record.has_this_code:
        return StackSearch(reason="the detached stack runs other code; `deepmath up --detach` replaces it")
    if wanted and wanted != record.settings:
        return StackSearch(reason=f"the detached stack has other settings: {record.settings.title}")
    return StackSearch(record)


def read_detached() -> StackRecord | None:
    """Return the record of a detached stack, which may be stale; None if there is none.

    Raises:
        InvalidRequest: It is damaged, or not trusted.
    """
    content = StateFolder().read_record()
    return None if content is None else StackRecord.loads(content)


def start_detached(
    settings: StackSettings, idle_s: float = DEFAULT_IDLE_S, notify: Callable[[str], None] = lambda _: None
) -> StackRecord:
    """Return the running detached stack with these settings, started if needed. `notify` receives each wait's reason.

    Raises:
        WrongOrder: A stack with other settings runs.
        Unavailable: It does not start.
        InvalidRequest: The state folder is not usable, or a running stack has a damaged record.
    """
    for service in ("executor", "generator") if settings.model else ("executor",):
        check_installed(service)
    folder = StateFolder()
    folder.create()
    waits = False
    while (lock := folder.lock()) is None:
        record = read_detached()
        if record and record.is_ready and record.keeper.is_running:
            if not record.has_this_code:
                notify("replacing the detached stack, which runs other code")
                stop_detached()
            elif record.settings != settings:
                raise WrongOrder(
                    f"a detached stack with other settings runs, {record.settings.title}; `deepmath down` stops it"
                )
            else:
                return record
        elif record and not record.keeper.is_running and not record.keeper.has_ended:
            raise WrongOrder(
                f"the detached stack in {folder.path} belongs to another container; "
                f"set {STATE_VARIABLE} to another folder"
            )
        elif not waits:
            notify("waiting for the detached stack that starts or stops at the moment")
            waits = True
        time.sleep(_POLL_S)
    try:
        if stale := _read_any():
            _end_services(stale)
        folder.remove_record()
        notify(f"starting {settings.title}" + ("; loading takes half a minute or more" if settings.model else ""))
        return _start(KeeperSettings(settings, idle_s, lock))
    finally:
        os.close(lock)


def stop_detached() -> StackRecord | None:
    """Stop the detached stack, also one that starts, and return its record; None if there is none.

    Raises:
        InvalidRequest: The state folder is not trusted, or a running stack has a damaged record.
        Unavailable: It does not stop.
    """
    folder = StateFolder()
    if not folder.check():
        return None
    if (lock := folder.lock()) is not None:  # no keeper runs
        record = _read_any()
        if record:
            _end_services(record)
        _remove_files(folder)
        os.close(lock)
        return record
    if (record := read_detached()) is None:
        return None
    record.keeper.send_signal(signal.SIGTERM)
    if not _wait(lambda: not record.keeper.is_running, _STOP_S):
        record.keeper.send_signal(signal.SIGKILL)
        _wait(lambda: not record.keeper.is_running, _KILL_S)
    _end_services(record)
    if record.keeper.is_running or not record.keeper.has_ended:
        raise Unavailable(
            f"the detached stack does not stop: process {record.keeper.pid}, perhaps in another container"
        )
    if (lock := folder.lock()) is not None:  # not that of a new stack
        _remove_files(folder)
        os.close(lock)
    return record


def _start(settings: KeeperSettings) -> StackRecord:
    """Start the keeper and wait until its stack serves. If this process ends before, so does the keeper."""
    own, its = socket.socketpair()
    with own:
        with its:
            keeper = _spawn(settings.command(its.fileno()), settings.lock, its.fileno())
        try:
            answer = own.recv(_ANSWER_BYTES).decode()
        except BaseException:
            own.close()
            os.waitpid(keeper, 0)
            raise
    if answer == READY:
        if record := read_detached():
            return record
        answer = "the detached stack was stopped"
    os.waitpid(keeper, 0)
    logs = StateFolder().logs
    raise Unavailable(f"{answer or 'the detached stack did not start'}; its logs are in {logs}")


def _spawn(command: list[str], *inherited: int) -> int:
    """Start a process that outlives this one and its terminal, and return its number. `subprocess` would warn of it."""
    for descriptor in inherited:
        os.set_inheritable(descriptor, True)
    nowhere = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    environment = os.environ | {STATE_VARIABLE: str(StateFolder().path)}  # its place is decided once
    return os.posix_spawn(command[0], command, environment, file_actions=nowhere, setsid=True)


def _end_services(record: StackRecord) -> None:
    """End services whose keeper has ended: they have got SIGTERM, and may hang."""
    if not _wait(lambda: not any(service.is_running for service in record.services), _STOP_S / 2):
        for service in record.services:
            service.send_signal(signal.SIGKILL)
        _wait(lambda: not any(service.is_running for service in record.services), _KILL_S)


def _read_any() -> StackRecord | None:
    """Return the record; None for one that is damaged too."""
    content = StateFolder().read_record()
    try:
        return None if content is None else StackRecord.loads(content)
    except InvalidRequest:
        return None


def _remove_files(folder: StateFolder) -> None:
    folder.remove_record()
    GatewayKey.within(folder.path).remove()


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True
