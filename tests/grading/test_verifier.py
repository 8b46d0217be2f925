"""Verdicts of the verifier, and the life of its worker processes under hostile answers."""

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deepmath.errors import Unavailable
from deepmath.grading import verifier_process
from deepmath.grading.verdict import Reason
from deepmath.grading.verifier import Verifier

# Neither comparison terminates in any time that a test could wait for.
ENDLESS = r"10^{10^{10}}"
ENDLESS_BRACES = "{" * 450 + "x" + "}" * 450


def correct(verifier: Verifier, *pairs: tuple[str, str]) -> list[bool | None]:
    return [verdict.correct for verdict in verifier.verify(pairs)]


def workers(verifier: Verifier) -> list[int]:
    return [worker._process.pid for worker in verifier._workers if worker._process is not None]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture
def hurried() -> Iterator[Verifier]:
    with Verifier(1, 2.0) as verifier:
        yield verifier


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1/2", "0.5"),
        ("0.5", r"\frac12"),
        (r"1\frac{1}{2}", "3/2"),
        (r"\frac{1}{2}", r"\dfrac{1}{2}"),
        (r"$\frac{1}{2}$", "1/2"),
        (r"\(3\)", "3"),
        (r"\sqrt{8}", r"2\sqrt2"),
        (r"2\sqrt{2}", "2.828427"),
        ("1/3", "0.333333"),
        (r"\{1,2\}", r"\{2,1\}"),
        ("1, 2", "2,1"),
        ("(1,2,3)", "(1, 2, 3)"),
        ("[1,2)", "[1, 2)"),
        (r"x \in [1,2]", "[1,2]"),
        ("x^2+2x+1", "(x+1)^2"),
        ("x=5", "5"),
        ("n>2", "2<n"),
        (r"5\text{ cm}", "5"),
        ("5", "5 cm"),
        (r"12^\circ", "12"),
        (r"\text{Yes}", "Yes"),
        ("1,000", "1000"),
        # A number without a percent sign may stand for a percentage or for its hundredth.
        (r"50\%", "1/2"),
        (r"50\%", "50"),
    ],
)
def test_equal_answers_are_correct_in_any_spelling(patient: Verifier, gold: str, answer: str) -> None:
    assert correct(patient, (gold, answer)) == [True]


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1/2", "1/3"),
        ("1/3", "0.333"),
        ("(1,2)", "(2,1)"),
        ("(1,2,3)", "(1,3,2)"),
        ("[1,2)", "[1,2]"),
        (r"\sqrt{8}", r"\sqrt{7}"),
        (r"\infty", r"-\infty"),
        ("Yes", "No"),
        ("7", ""),
        ("7", "  "),
        (r"\frac{1}{0}", "1"),
        ("1", r"\frac{1}{0}"),
        ("1", "1e999999999"),
        (r"\sqrt{2}", "2\x00"),
        (r"\sqrt{2}", "½∑五\ud800"),
        (r"\sqrt{2}", "1" * 100_000),
        (r"\sqrt{2}", "\\" * 900),
        (r"\sqrt{2}", "$" * 900),
    ],
)
def test_different_answers_are_incorrect(patient: Verifier, gold: str, answer: str) -> None:
    assert correct(patient, (gold, answer)) == [False]


def test_verdicts_are_in_the_order_of_the_pairs(patient: Verifier) -> None:
    pairs = [("2", "2"), (r"\sqrt{8}", "3"), ("2", "3"), (r"\sqrt{8}", r"2\sqrt{2}"), ("2", "2")]
    assert correct(patient, *pairs) == [True, False, False, True, True]


@pytest.mark.parametrize("gold", ["7", "-3/4", r"\frac{3}{4}", r"$\frac{3}{4}$", "x^2 + 1", "[1, 2)", r"\text{Yes}"])
def test_mathematics_is_accepted_as_gold_answer(patient: Verifier, gold: str) -> None:
    assert patient.check_gold(gold).correct


@pytest.mark.parametrize("gold", ["", " ", "???", r"\frac{", "x" * 5000])
def test_anything_else_is_rejected_as_gold_answer(patient: Verifier, gold: str) -> None:
    assert not patient.check_gold(gold).correct


def test_unparsable_gold_answer_gives_no_verdict(patient: Verifier) -> None:
    before = patient.reasons[Reason.FAILED]
    assert correct(patient, ("???", "5")) == [None]
    assert patient.reasons[Reason.FAILED] == before


def test_numbers_are_compared_without_a_worker() -> None:
    with Verifier(2, 1.0) as verifier:
        assert correct(verifier, ("3/4", r"\frac{3}{4}"), ("3/4", "0.75"), ("7", "8"), ("7", "")) == [
            True,
            True,
            False,
            False,
        ]
        assert [one.correct for one in verifier.check_golds(["42", r"\frac12", ""])] == [True, True, None]
        assert workers(verifier) == []


@pytest.mark.parametrize("answer", [ENDLESS, ENDLESS_BRACES], ids=["power", "braces"])
def test_endless_comparison_is_killed_and_counted_and_the_next_one_succeeds(hurried: Verifier, answer: str) -> None:
    assert correct(hurried, (r"\sqrt{8}", r"2\sqrt{2}")) == [True]
    (before,) = workers(hurried)
    assert correct(hurried, (r"\sqrt{2}", answer)) == [None]
    assert not is_running(before)
    assert hurried.reasons[Reason.FAILED] == 1
    assert correct(hurried, (r"\sqrt{8}", r"2\sqrt{2}")) == [True]


def test_killed_worker_is_replaced(patient: Verifier) -> None:
    patient.verify([(r"\sqrt{3}", "y")])
    (pid,) = workers(patient)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert correct(patient, (r"\sqrt{3}", r"3^{1/2}")) == [True]


def test_memory_of_the_parent_does_not_retire_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_process, "_RETIREMENT_MEMORY", 256 << 20)
    ballast = b"x" * (512 << 20)
    with Verifier(1, 60.0) as verifier:
        verifier.verify([(r"\sqrt{3}", "y")])
        before = workers(verifier)
        verifier.verify([(r"\sqrt{3}", "z")])
        assert before == workers(verifier) != []
    assert len(ballast) > verifier_process._RETIREMENT_MEMORY


def test_worker_with_high_peak_memory_is_retired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_process, "_RETIREMENT_MEMORY", 1 << 20)
    with Verifier(1, 60.0) as verifier:
        assert correct(verifier, (r"\sqrt{3}", "3^{1/2}")) == [True]
        assert workers(verifier) == []


def test_crashed_worker_gives_no_verdict(patient: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    # The orphan alarm fires before the verifier's own timeout, which is longer than any test.
    monkeypatch.setattr(verifier_process, "_GRACE_S", 1 - 1_000_000)
    with Verifier(1, 1_000_000.0) as verifier:
        assert correct(verifier, (r"\sqrt{2}", ENDLESS)) == [None]
        assert verifier.reasons[Reason.FAILED] == 1


def test_worker_has_a_memory_limit_an_empty_environment_and_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    with Verifier(1, 60.0) as verifier:
        verifier.verify([(r"\sqrt{3}", "y")])
        (pid,) = workers(verifier)
        process = Path(f"/proc/{pid}")
        assert re.search(rf"Max address space +{1 << 30} ", (process / "limits").read_text())
        assert b"secret" not in (process / "environ").read_bytes()
        assert "libtorch" not in (process / "maps").read_text()


def test_closed_verifier_leaves_no_process() -> None:
    verifier = Verifier(2, 60.0)
    verifier.verify([(r"\sqrt{3}", "y"), (r"\sqrt{3}", "z")])
    pids = workers(verifier)
    verifier.close()
    assert pids
    assert not any(map(is_running, pids))


def test_close_from_another_thread_ends_a_pending_comparison() -> None:
    verifier = Verifier(1, 1_000_000.0)
    with ThreadPoolExecutor() as threads:
        verdicts = threads.submit(correct, verifier, (r"\sqrt{2}", ENDLESS), (r"\sqrt{2}", ENDLESS_BRACES))
        while not workers(verifier):
            time.sleep(0.01)
        verifier.close()
        assert verdicts.result() == [None, None]


def test_missing_math_verify_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "verifier_worker.py"
    program.write_text("raise SystemExit(1)")
    monkeypatch.setattr(verifier_process, "_PROGRAM", program)
    with Verifier(1, 1.0) as verifier, pytest.raises(Unavailable, match="extra `evaluation`"):
        verifier.verify([(r"\sqrt{3}", "y")])
