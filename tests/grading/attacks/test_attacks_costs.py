"""Attacks on time and memory by mathematics that is easy to write and hard to evaluate."""

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deepmath.grading.latex_alphabet import NameTable, UnreadableLatexError, close_latex
from deepmath.grading.verdict import Reason
from deepmath.grading.verifier import Verifier, _latex, _without_sandbox

COSTLY = {
    "tower": "9^{9^{9^{9}}}",
    "power": "7^{10^{12}}",
    "root of a power": r"\sqrt{2^{10^{11}}+1}",
    "factorials": "((((9!)!)!)!)!",
    "large factorial": "(10^{8})!",
    "binomial coefficient": r"\binom{2^{40}}{2^{39}}",
    "sum": r"\sum_{n=1}^{10^{12}}\frac{1}{n^2+n+1}",
    "sum of powers": r"\sum_{n=1}^{10^{7}}n^{n}",
    "product": r"\prod_{n=1}^{10^{12}}\frac{n^2+1}{n^2}",
    "sum of sums": r"\sum_{a=1}^{10^3}\sum_{b=1}^{10^3}\sum_{c=1}^{10^3}\frac{1}{a+b+c}",
    "expansion": "(x+y+z+1)^{300}-(x+y+z)^{300}",
    "polynomial": "(x^{10^6}-1)(x^{10^6}+1)",
    "root": r"\sqrt[10^{9}]{2}\cdot\sqrt[10^{9}-1]{3}",
    "floor": r"\lfloor\pi\cdot10^{10^{9}}\rfloor",
    "sine": r"\sin(10^{10^{8}})",
    "power of a matrix": r"\begin{pmatrix}1&1\\1&x\end{pmatrix}^{10^{6}}",
    "determinant": r"\det\begin{pmatrix}"
    + r"\\".join("&".join("abcdefgh"[(i * j) % 8] for i in range(8)) for j in range(8))
    + r"\end{pmatrix}",
    "braces": "{" * 490 + "x" + "}" * 490,
    "parentheses": "(" * 490 + "x" + ")" * 490,
    "fractions": r"\frac{1}{1+" * 70 + "x" + "}" * 70,
    "roots": r"\sqrt{1+" * 120 + "x" + "}" * 120,
    "functions": r"\sin\cos" * 60 + "x",
    "functions without arguments": r"\log" * 240,
    "absolute values": "|" * 200 + "x" + "|" * 200,
    "set of sets": r"\{" * 200 + "1" + r"\}" * 200,
    "long sum": "+".join(f"\\sqrt{{{n}}}" for n in range(2, 100)),
    "long product": "".join(f"(x-{n})" for n in range(100, 260)),
    "long number": "7" * 990,
    "digits and letters": "1x" * 490,
    "equation": "x^{9}+x^{8}y^{7}+y^{9}x^{5}+x+y=1",
    "chain": "<".join("abcdefghij" * 20),
    "integral": r"\int_{0}^{1}\frac{\sin(x^{5})}{e^{x^{7}}+\cos(x^{3})}dx",
    "limit": r"\lim_{x\to 0}\frac{\sin(\tan x)-\tan(\sin x)}{\arcsin(\arctan x)-\arctan(\arcsin x)}",
}
"""Texts that take much time or memory, or do so in some library."""
# What is equal to itself needs no evaluation, so the other side is this.
OTHER = r"\sqrt{3}+x"


REPEATED = [
    *(
        "word=",
        r"\text{abc}=",
        "abcd:",
        "P(a|b)=",
        "f(x)=",
        "a=b=",
        "1,",
        "1<",
        "x|",
        r"\frac",
        "{",
        "(1,",
        r"\sin",
        r"\log",
    ),
    *(
        "-",
        "+-",
        "!",
        "^",
        "x^",
        "e^",
        "2^2",
        "1/",
        r"\pm 1",
        "x_",
        r"\{",
        r"\lfloor x\rfloor",
        "(x+1)^",
        "99!,",
        r"\sqrt{2}+",
    ),
    *(
        "a<",
        r"\text{ and }",
        "or ",
        "x\\in",
        "1e9",
        "\\ldots",
        "$",
        " ",
        "\\",
        "½",
        "²",
        r"\begin{pmatrix}",
        "&",
        '"',
        "'",
    ),
]
"""Parts of texts whose length must not matter more than linearly before a sandbox is asked."""


@pytest.fixture(scope="module")
def hurried() -> Iterator[Verifier]:
    with Verifier(2, 0.4) as verifier:
        verifier.start()
        yield verifier


def test_no_answer_can_choose_to_have_no_verdict(hurried: Verifier) -> None:
    verdicts = dict(zip(COSTLY, hurried.verify([(OTHER, text) for text in COSTLY.values()]), strict=True))
    assert {name: verdict for name, verdict in verdicts.items() if verdict.correct is not False} == {}
    assert {verdict.reason for verdict in verdicts.values()} >= {Reason.ANSWER_TIMEOUT}


def test_costly_gold_answer_makes_nothing_correct_and_is_no_failure(hurried: Verifier) -> None:
    verdicts = dict(zip(COSTLY, hurried.verify([(text, OTHER) for text in COSTLY.values()]), strict=True))
    assert {name: verdict for name, verdict in verdicts.items() if verdict.correct} == {}
    assert {name: verdict for name, verdict in verdicts.items() if verdict.reason is Reason.FAILED} == {}


def test_every_verdict_is_counted_by_its_reason(hurried: Verifier) -> None:
    before = hurried.reasons.total()
    verdicts = hurried.verify([("1", "1"), (OTHER, COSTLY["tower"]), (COSTLY["braces"], OTHER), ("1", "#")])
    assert hurried.reasons.total() == before + 4
    assert all(hurried.reasons[verdict.reason] > 0 for verdict in verdicts)


@pytest.mark.parametrize("part", REPEATED)
def test_time_before_the_sandbox_grows_with_the_length(part: str) -> None:
    def seconds(length: int) -> float:
        text, best = (part * length)[:length], 60.0
        for _ in range(2):
            started = time.process_time()
            for pair in ((OTHER, text), (text, OTHER)):
                _without_sandbox(pair)
                with suppress(UnreadableLatexError):
                    close_latex(_latex(text), NameTable())
            best = min(best, time.process_time() - started)
        return best

    assert seconds(1000) < 12 * seconds(250) + 0.05  # quadratic time would be 16 times as much
