"""Verdicts of the verifier, and the life of its sandboxes under hostile answers."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.grading import comparison_sandbox
from deepmath.grading import verifier as verifier_module
from deepmath.grading.verdict import Reason
from deepmath.grading.verifier import Verifier
from deepmath.sandbox.preload_set import PreloadSet

ENDLESS = r"\int_{0}^{1}\frac{\sin(x^{5})}{e^{x^{7}}+\cos(x^{3})}dx"


def correct(verifier: Verifier, *pairs: tuple[str, str]) -> list[bool | None]:
    return [verdict.correct for verdict in verifier.verify(pairs)]


def children() -> set[int]:
    """The processes that this one has started, a zygote's launcher among them."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has just ended
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.fixture(scope="module")
def hurried() -> Iterator[Verifier]:
    with Verifier(2, 1.0) as verifier:
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


def test_bad_gold_answer_gives_no_verdict(patient: Verifier) -> None:
    assert patient.verify([("???", "5")])[0].reason is Reason.GOLD_UNREADABLE
    assert patient.verify([(r"\frac{", "5")])[0].reason is Reason.GOLD_UNREADABLE


def test_numbers_are_compared_without_a_sandbox() -> None:
    before = children()
    with Verifier(2, 1.0) as verifier:
        pairs = [("3/4", r"\frac{3}{4}"), ("3/4", "0.75"), ("7", "8"), ("7", ""), ("7", "x" * 5000), ("7" * 5000, "7")]
        assert correct(verifier, *pairs) == [True, True, False, False, False, None]
        assert [one.correct for one in verifier.check_golds(["42", r"\frac12", ""])] == [True, True, None]
        assert children() == before


def test_endless_text_is_the_fault_of_who_wrote_it_and_the_next_comparison_succeeds(hurried: Verifier) -> None:
    verdicts = hurried.verify([(r"\sqrt{2}", ENDLESS), (ENDLESS, r"\sqrt{2}"), (r"\sqrt{8}", r"2\sqrt{2}")])
    assert [one.reason for one in verdicts] == [Reason.ANSWER_TIMEOUT, Reason.GOLD_TOO_COSTLY, Reason.SAME_VALUE]
    assert [one.correct for one in verdicts] == [False, None, True]


def test_bug_in_an_exact_comparison_leaves_the_verdict_to_a_sandbox(
    patient: Verifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: str) -> bool:
        raise RecursionError

    monkeypatch.setattr(verifier_module, "compare_exactly", fail)
    assert correct(patient, (r"\sqrt{8}", r"2\sqrt{2}"), (r"\sqrt{8}", "3")) == [True, False]
    monkeypatch.setattr(verifier_module, "split_unit", fail)
    assert patient.verify([(r"\sqrt{8}", "3")])[0].reason is Reason.GOLD_UNREADABLE
    assert "unhandled RecursionError in an exact comparison" in caplog.text


def test_verdicts_are_counted_by_reason() -> None:
    with Verifier(1, 5.0) as verifier:
        verifier.verify([("1", "1"), ("1", "2"), ("1", "")])
        verifier.check_golds(["???", "5"])
        assert verifier.reasons == {
            Reason.SAME_VALUE: 2,
            Reason.DIFFERENT: 1,
            Reason.ANSWER_EMPTY: 1,
            Reason.GOLD_UNREADABLE: 1,
        }


def test_closed_verifier_leaves_no_process_and_no_thread() -> None:
    before, threads = children(), set(threading.enumerate())
    verifier = Verifier(2, 60.0)
    assert correct(verifier, (r"\sqrt{3}", "y"), (r"\sqrt{3}", "z")) == [False, False]
    assert children() > before
    verifier.close()
    assert children() == before
    for thread in set(threading.enumerate()) - threads:
        thread.join(10.0)  # those of the loop's executor end on their own
        assert not thread.is_alive(), thread
    assert verifier.verify([(r"\sqrt{3}", "y")])[0].reason is Reason.FAILED


def test_close_from_another_thread_ends_a_pending_comparison() -> None:
    before = children()
    verifier = Verifier(1, 1_000_000.0)
    with ThreadPoolExecutor() as threads:
        verdicts = threads.submit(correct, verifier, (r"\sqrt{2}", ENDLESS), (r"\sqrt{3}", ENDLESS))
        while children() == before:
            time.sleep(0.01)
        verifier.close()
        assert verdicts.result() == [None, None]


def test_threads_share_a_verifier(patient: Verifier) -> None:
    pairs = [(rf"\sqrt{{{number}}}", f"{number}^{{1/2}}") for number in range(2, 18)]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda pair: patient.verify([pair])[0].correct, pairs))


def test_missing_math_verify_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_sandbox, "_PRELOAD", PreloadSet(("no_such_module",)))
    with Verifier(1, 1.0) as verifier, pytest.raises(Unavailable, match=r"no_such_module.*extra `evaluation`"):
        verifier.verify([(r"\sqrt{3}", "y")])


def test_missing_layers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    monkeypatch.setattr(comparison_sandbox, "_LEVEL", "pod")
    monkeypatch.setenv("DEEPMATH_GRADING_REQUIRE", "full")
    with (
        Verifier(1, 1.0) as verifier,
        pytest.raises(Unavailable, match="isolation level 'full' is not available here: no user_namespace"),
    ):
        verifier.verify([(r"\sqrt{3}", "y")])
    assert children() == before


def test_unknown_level_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPMATH_GRADING_REQUIRE", "high")
    with pytest.raises(InvalidRequest, match="DEEPMATH_GRADING_REQUIRE is 'high'; set it to one of: full, pod"):
        Verifier(1, 1.0)


def test_sandbox_has_no_environment_and_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    before = children()
    with Verifier(1, 60.0) as verifier:
        verifier.start()
        (launcher,) = children() - before
        process = Path(f"/proc/{launcher}")
        assert b"secret" not in (process / "environ").read_bytes()
        assert "libtorch" not in (process / "maps").read_text()
        assert os.getpid() != launcher
