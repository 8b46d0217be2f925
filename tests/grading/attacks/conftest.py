"""Traces that an attack would leave: files, connections, processes, and a comparison that is no longer the same."""

import socket
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from pathlib import Path

import pytest

from deepmath.grading.verifier import Verifier

TRUTHS = [
    (r"\sqrt{8}", r"2\sqrt{2}", True),
    (r"\sqrt{8}", r"3\sqrt{2}", False),
    ("x+1", "1+x", True),
    ("x+1", "x", False),
]


def descendants(without: Set[int] = frozenset()) -> list[int]:
    """Return the processes below this one, in order; those in `without` and below them are left out."""
    found: set[int] = set()
    waiting = ["self"]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with suppress(OSError):  # the thread or process has just ended
                children = {int(pid) for pid in task.read_text().split()} - found - without
                found |= children
                waiting.extend(map(str, children))
    return sorted(found)


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    """A verifier that runs a zygote already."""
    with Verifier(2, 0.5) as verifier:
        verifier.start()
        yield verifier


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A server on 127.0.0.1 that must not get a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A path in a folder that everybody can write to."""
    folder = tmp_path / "canary"
    folder.mkdir()
    for writable in (folder, *folder.parents):
        if writable.owner() != "root" or writable.name.startswith("pytest-"):
            writable.chmod(0o777)
    folder.chmod(0o777)
    return folder / "c"


@pytest.fixture
def untouched(verifier: Verifier, listener: socket.socket, canary: Path) -> Callable[[], None]:
    """`untouched()` asserts that the attacks have left nothing behind, and that verdicts are what they were."""

    def check() -> None:
        assert list(canary.parent.iterdir()) == []
        with pytest.raises(BlockingIOError):
            listener.accept()
        pairs = [(gold, answer) for gold, answer, _ in TRUTHS]
        assert [verdict.correct for verdict in verifier.verify(pairs)] == [correct for *_, correct in TRUTHS]

    return check
