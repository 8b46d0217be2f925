"""The detached stack: found, started once, replaced when stale, refused when not trusted, and ended without a rest.

With an executor alone, which starts in a second; tests/cli/test_detached_commands.py has the whole stack.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deepmath
from deepmath.clients import ExecutorClient
from deepmath.clients.idle_time import idle_seconds
from deepmath.errors import InvalidRequest, Unavailable, WrongOrder
from deepmath.local_stack.detached_stack import find_detached, read_detached, start_detached, stop_detached
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.local_stack.stack_record import StackRecord, StackSettings
from deepmath.local_stack.state_folder import STATE_VARIABLE, StateFolder
from deepmath.process_identity import ProcessIdentity

EXECUTOR = StackSettings()
LONGEST_S = 120  # on a busy machine


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Iterator[Path]:
    folder = tmp_path / "state"
    monkeypatch.setenv(STATE_VARIABLE, str(folder))
    yield folder
    monkeypatch.setenv(STATE_VARIABLE, str(folder))
    if folder.is_dir():
        folder.chmod(0o700)
        (folder / "stack.json").exists() and (folder / "stack.json").chmod(0o600)
        stop_detached()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def write_record(**changes: object) -> StackRecord:
    """Write the record of a stack of this process, which would serve, with changes."""
    own = ProcessIdentity.of(os.getpid())
    record = StackRecord(own, EXECUTOR, 0.0, 0.0, "", "unix:/nonexistent/executor.sock")
    record = replace(record, **{"code": deepmath_code(), **changes})  # type: ignore[arg-type]
    folder = StateFolder()
    folder.create()
    folder.write_record(record.dumps())
    return record


def deepmath_code() -> str:
    from deepmath.local_stack.code_fingerprint import code_fingerprint

    return code_fingerprint()


def ended_process() -> ProcessIdentity:
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = ProcessIdentity.of(process.pid)
        process.kill()
    return identity


def test_one_stack_serves_everybody_until_it_is_stopped(state) -> None:
    """Found by the SDK and by later starts, kept from other settings, and gone with all that it made."""
    assert find_detached() == (None, "")
    record = start_detached(EXECUTOR)
    assert find_detached().stack == record == start_detached(EXECUTOR)
    with pytest.raises(WrongOrder, match="a detached stack with other settings runs, an executor alone"):
        start_detached(StackSettings(str(EMBEDDED_MODEL)))
    assert "other settings" in find_detached(StackSettings(str(EMBEDDED_MODEL))).reason
    with deepmath.connect() as connection, connection.session() as session:
        assert session.run("x = 6").ok
        assert session.run("x * 7").value == "42"
        assert connection._connection._access._own_executor == ""
    socket = Path(record.executor.removeprefix("unix:"))
    assert socket.parent.stat().st_mode & 0o077 == 0
    assert stop_detached() == record
    assert not socket.parent.exists()
    assert not any(service.is_running for service in (record.keeper, *record.services))
    assert stop_detached() is None
    assert sorted(path.name for path in state.iterdir()) == ["lock", "logs"]
    assert {path.name for path in (state / "logs").iterdir()} == {"executor.log", "gateway.log", "keeper.log"}


def test_concurrent_starts_make_one_stack() -> None:
    records: list[StackRecord] = []
    starts = [threading.Thread(target=lambda: records.append(start_detached(EXECUTOR))) for _ in range(3)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len({record.keeper for record in records}) == 1 == len(set(records))


def test_killed_keeper_is_noticed_and_replaced() -> None:
    first = start_detached(EXECUTOR)
    first.keeper.send_signal(signal.SIGKILL)
    wait_until(lambda: not first.keeper.is_running)
    assert "ended without cleanup" in find_detached().reason
    second = start_detached(EXECUTOR)
    assert second.keeper != first.keeper
    assert not any(service.is_running for service in first.services)


def test_killed_service_ends_the_stack() -> None:
    record = start_detached(EXECUTOR)
    record.services[0].send_signal(signal.SIGKILL)
    wait_until(lambda: not record.keeper.is_running)
    assert find_detached() == (None, "")
    assert "a service of the local stack exited" in (StateFolder().logs / "keeper.log").read_text()


def test_stack_ends_after_its_idle_time_but_not_during_a_call() -> None:
    async def hold(record: StackRecord) -> None:
        async with ExecutorClient(record.executor) as client, client.session() as session:
            await session.run("x = 1")
            for _ in range(8):  # GetInfo is no call, and a session is one although nothing runs in it
                await asyncio.sleep(record.idle_s / 4)
                assert await idle_seconds(client) == 0.0
            assert (await session.run("x")).value == "1"

    record = start_detached(EXECUTOR, idle_s=1.0)
    try:
        asyncio.run(hold(record))
    except Unavailable:  # a busy machine took longer than that to connect
        wait_until(lambda: not record.keeper.is_running)
        record = start_detached(EXECUTOR, idle_s=20.0)
        asyncio.run(hold(record))
    assert record.keeper.is_running
    wait_until(lambda: not record.keeper.is_running)
    assert find_detached() == (None, "")


def test_failed_start_leaves_nothing(state, tmp_path) -> None:
    with pytest.raises(Unavailable, match=r"the generator did not start: .*no model at /nonexistent/model; its|; its"):
        start_detached(StackSettings("/nonexistent/model"))
    assert not (state / "stack.json").exists()
    lock = StateFolder().lock()
    assert lock is not None
    os.close(lock)
    assert str(state) not in " ".join(part for process in running() for part in process)


def running() -> list[list[str]]:
    """Return the command lines of the keepers that run for this user."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if "deepmath.local_stack.stack_keeper" in command:
            found.append(command)
    return found


def test_start_whose_command_is_killed_leaves_nothing() -> None:
    program = (
        "from deepmath.local_stack.detached_stack import *\n"
        "from deepmath.local_stack.stack import EMBEDDED_MODEL\n"
        "start_detached(StackSettings(str(EMBEDDED_MODEL)))"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as command:
        wait_until(lambda: read_detached() is not None)
        record = read_detached()
        assert record is not None
        assert not record.is_ready
        assert find_detached() == (None, "")
        command.kill()
    wait_until(lambda: not record.keeper.is_running)
    assert read_detached() is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"executor": ""}, ""),
        ({"keeper": ended_process()}, "ended without cleanup"),
        ({"keeper": ProcessIdentity("another boot", 1, os.getpid(), 1)}, "ended without cleanup"),
        ({"code": "other"}, "runs other code"),
    ],
    ids=["serves", "starts", "keeper ended", "machine restarted", "other code"],
)
def test_stale_stack_is_not_found(change, reason, state) -> None:
    write_record(**change)
    found = find_detached()
    assert (found.stack is not None) == (change == {})
    assert reason in found.reason
    (state / "stack.json").unlink()  # this process is its keeper


def test_reused_process_number_is_not_signalled() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        former = ProcessIdentity.of(other.pid)._replace(start_ticks=1)
        write_record(keeper=former, services=(former,))
        assert stop_detached() is not None
        assert other.poll() is None
        other.kill()


def make_readable(folder: Path) -> None:
    folder.chmod(0o755)


def make_record_writable(folder: Path) -> None:
    (folder / "stack.json").chmod(0o666)


def link_record(folder: Path) -> None:
    (folder / "stack.json").rename(folder / "other")
    (folder / "stack.json").symlink_to(folder / "other")


def link_folder(folder: Path) -> None:
    folder.rename(folder.with_name("other"))
    folder.symlink_to(folder.with_name("other"))


def make_pipe(folder: Path) -> None:
    (folder / "stack.json").unlink()
    os.mkfifo(folder / "stack.json", 0o600)


def make_folder(folder: Path) -> None:
    (folder / "stack.json").unlink()
    (folder / "stack.json").mkdir()


@pytest.mark.parametrize(
    "spoil", [make_readable, make_record_writable, link_record, link_folder, make_pipe, make_folder]
)
def test_state_that_another_user_could_have_written_is_not_trusted(spoil, state, monkeypatch, tmp_path) -> None:
    write_record()
    assert find_detached().stack
    spoil(state)
    found = find_detached()
    assert found.stack is None
    assert found.reason
    with pytest.raises(InvalidRequest):
        read_detached()
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "unused"))
    if state.is_symlink():
        state.unlink()
    elif (state / "stack.json").is_dir():
        (state / "stack.json").rmdir()
    elif (state / "stack.json").exists():
        (state / "stack.json").unlink()


@pytest.mark.parametrize("name", ["lock", "logs"])
@pytest.mark.parametrize("place", [lambda path: path.symlink_to("/nonexistent"), os.mkfifo])
def test_lock_and_logs_of_another_kind_are_refused_before_a_start(name: str, place, state) -> None:
    state.mkdir(mode=0o700)
    place(state / name)
    with pytest.raises(InvalidRequest, match=f"{name}.* remove it"):
        start_detached(EXECUTOR)
    (state / name).unlink()


@given(st.binary(max_size=200) | st.builds(lambda text: text.encode(errors="replace"), st.text()))
def test_damaged_record_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="damaged"):
        StackRecord.loads(content)


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"settings": 1}', b"[" * 100_000, b'{"keeper":', b"\xff"])
def test_damaged_record_does_not_stop_a_start_or_an_end(damage: bytes) -> None:
    folder = StateFolder()
    folder.create()
    folder.write_record(damage)
    assert "damaged" in find_detached().reason
    lock = folder.lock()  # as of a running keeper
    assert lock is not None
    for command in (stop_detached, lambda: start_detached(EXECUTOR)):
        with pytest.raises(InvalidRequest, match="damaged, or of another version; if its process"):
            command()
    os.close(lock)
    assert stop_detached() is None


@pytest.mark.parametrize(
    "process", ["abcd", [1, 2, 3, 4], ["boot", 1, 0, 1], ["boot", 1, 2, "3"], ["boot", 1, 2, -3], []]
)
def test_process_that_cannot_be_one_is_damage(process: object) -> None:
    content = json.loads(write_record().dumps())
    for change in ({"keeper": process}, {"services": [process]}):
        with pytest.raises(InvalidRequest, match="damaged"):
            StackRecord.loads(json.dumps(content | change).encode())


def test_relative_state_folder_is_that_of_the_command(state, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(STATE_VARIABLE, state.name)
    record = start_detached(EXECUTOR)
    assert find_detached().stack == record
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    assert stop_detached() == record


def test_settings_are_those_of_the_files(tmp_path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    before = StackSettings.of(str(model), ["--dtype", "float32"])
    assert before == StackSettings.of(f"{model}/../model", ["--dtype", "float32"])
    (model / "config.json").write_text("{ }")
    assert before != StackSettings.of(str(model), ["--dtype", "float32"])


def test_state_folder_is_private_per_user(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(STATE_VARIABLE)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert StateFolder().path == tmp_path / "deepmath"
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.devnull + "/missing")
    assert StateFolder().path.name == f"deepmath-{os.geteuid()}"
