"""Memory of comparisons: each may use its limit, beside what the service around them uses."""

import time

import pytest

from deepmath.grading import comparison_sandbox
from deepmath.grading.verifier import Verifier

COMPARISONS = 4
HELD_BYTES = 300 << 20
ROOM_BYTES = 700 << 20  # for one comparison: its limit is 512 MiB
HOLD = f"x = bytearray(b'x') * {HELD_BYTES}\nsum(range(10**7))\nlen(x)"  # for longer than the time between measurements


def test_comparison_waits_until_its_limit_is_free() -> None:
    most = 0
    with Verifier(COMPARISONS, 20.0) as verifier:
        verifier.start()
        sandbox = verifier._sandbox
        assert sandbox._pool
        memory = sandbox._pool.memory
        memory.gauge, memory.total_bytes = None, ROOM_BYTES
        running = [sandbox.submit(sandbox.run(HOLD)) for _ in range(COMPARISONS)]
        while not all(one.done() for one in running):
            most = max(most, memory.held_bytes())
            time.sleep(0.01)
    assert [one.result().value for one in running] == [str(HELD_BYTES)] * COMPARISONS
    assert HELD_BYTES <= most < 2 * HELD_BYTES


@pytest.mark.parametrize(("limit", "warnings"), [(1 << 50, 1), (1 << 20, 0)])
def test_too_little_memory_for_a_comparison_is_reported_at_the_start(
    limit: int, warnings: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(comparison_sandbox, "_MEMORY_BYTES", limit)
    with Verifier(workers=1, timeout_s=5) as verifier:
        verifier.start()
    assert [record.name for record in caplog.records].count(comparison_sandbox.__name__) == warnings
