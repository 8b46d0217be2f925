"""Attacks by the text of an answer or a gold answer, through every route by which text reaches a parser."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

from support.evaluation_runs import sample, write

from deepmath.evaluation.answer_classes import judge_problems
from deepmath.evaluation.gold_check import check_gold_answers
from deepmath.evaluation.sample_sets import load_sample_sets
from deepmath.grading.latex_alphabet import NameTable, UnreadableLatexError, check_closed, close_latex
from deepmath.grading.verdict import Reason
from deepmath.grading.verifier import Verifier
from deepmath.grading.vote_tally import tally_votes

from .payloads import CONTEXTS, connect, latex_attacks, name_that_runs, python_attacks

HARMLESS = r"\sqrt{3}"  # the comparison with it evaluates
Check = Callable[[], None]


def attacks(canary: Path, listener: socket.socket) -> dict[str, str]:
    network = CONTEXTS["infinite sum"].replace("%s", rf"\text{{{name_that_runs(connect(listener.getsockname()[1]))}}}")
    return {**dict(latex_attacks(canary)), **dict(python_attacks(canary)), "network": network}


def test_there_are_many_attacks_and_none_is_too_long_to_be_read(canary: Path, listener: socket.socket) -> None:
    found = attacks(Path("/tmp/c"), listener)
    assert len(found) > 75
    assert {name for name, text in found.items() if len(text) > 1000} == set()


def test_attacks_as_answers_are_incorrect(
    verifier: Verifier, canary: Path, listener: socket.socket, untouched: Check
) -> None:
    found = attacks(canary, listener)
    verdicts = dict(zip(found, verifier.verify([(HARMLESS, text) for text in found.values()]), strict=True))
    assert {name: verdict for name, verdict in verdicts.items() if verdict.correct is not False} == {}
    untouched()


def test_attacks_as_gold_answers_make_no_answer_correct(
    verifier: Verifier, canary: Path, listener: socket.socket, untouched: Check
) -> None:
    found = attacks(canary, listener)
    verdicts = dict(zip(found, verifier.verify([(text, HARMLESS) for text in found.values()]), strict=True))
    assert {name: verdict for name, verdict in verdicts.items() if verdict.correct} == {}
    assert all(verdict.reason is not Reason.FAILED for verdict in verdicts.values())
    untouched()


def test_attacks_against_their_like_compare_as_texts(
    verifier: Verifier, canary: Path, listener: socket.socket, untouched: Check
) -> None:
    found = list(attacks(canary, listener).values())
    verifier.verify([(text, text.replace("sum", "sum ").replace("{n!}", "{n! }")) for text in found])
    untouched()


def test_attacks_in_a_dataset_are_found_by_the_check_of_its_golds(
    verifier: Verifier, canary: Path, listener: socket.socket, untouched: Check, tmp_path: Path
) -> None:
    from deepmath.evaluation.benchmark_registry import find_benchmark

    file = tmp_path / "problems.jsonl"
    rows = [{"problem": name, "answer": text} for name, text in attacks(canary, listener).items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = find_benchmark(str(file)).problems(None)
    assert len(problems) > 70
    check_gold_answers({"attacks": problems}, verifier)
    untouched()


def test_attacks_in_the_folder_of_a_report_do_not_run(
    verifier: Verifier, canary: Path, listener: socket.socket, untouched: Check, tmp_path: Path
) -> None:
    found = list(attacks(canary, listener).values())[::8]
    samples = [sample(number=number, answer=text, correct=False) for number, text in enumerate(found)]
    run = write(tmp_path / "run", sample(number=len(found)), *samples)
    (problems,) = judge_problems(load_sample_sets([run]), verifier)
    assert problems[0].correct.count(True) == 1
    untouched()


def test_attacks_do_not_run_in_a_vote(
    verifier: Verifier, canary: Path, listener: socket.socket, untouched: Check
) -> None:
    found = list(attacks(canary, listener).values())[4::8]
    assert sum(count for _, count in tally_votes([HARMLESS, "3^{1/2}", *found], verifier.verify)) == len(found) + 2
    untouched()


def test_closed_text_has_no_part_of_an_attack(canary: Path, listener: socket.socket) -> None:
    for name, text in attacks(canary, listener).items():
        try:
            closed = close_latex(text, NameTable())
        except UnreadableLatexError:
            continue
        check_closed(closed)
        assert not set(closed) & set('"`@#?$'), name
        assert "__" not in closed, name
        assert "canary" not in closed, name
