r"""The closed alphabet: ordinary answers stay what they are, names become ours, and nothing else passes."""

import time
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.grading.latex_alphabet import (
    MAX_CHARACTERS,
    NameTable,
    UnreadableLatexError,
    check_closed,
    close_latex,
)
from deepmath.grading.sympy_patches.closed_names import check_names


def close(*texts: str) -> list[str]:
    names = NameTable()
    return [close_latex(text, names) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        r"\frac{1}{2}",
        r"-\frac{3}{4}x^2+2\sqrt[3]{5}",
        r"\left(-\infty,\frac12\right]\cup[3,\infty)",
        r"\begin{pmatrix}1&2\\ 3&4\end{pmatrix}",
        r"\begin{array}{cc}1&2\end{array}",
        r"\sum_{n=1}^{\infty}\frac{1}{n^2}",
        r"\int_0^1 x dx",
        r"\lim_{x\to 0}\frac{\sin x}{x}",
        r"\log_2 8+\ln x",
        r"\{1,2,3\}",
        r"x\equiv 3\pmod{7}",
        r"12.5\%",
        "x=1.,5",
        "f''(x)=2",
        r"\operatorname{lcm}(4,6)",
        r"\text{x}+\mathbb{R}",
    ],
)
def test_mathematics_is_unchanged(text: str) -> None:
    assert close(text) == [text]


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        (r"\text{Evelyn}", r"\text{w1}"),
        (r"\text{Alice}+\mathrm{Bob}+\text{alice}", r"\text{w1}+\text{w2}+\text{w1}"),
        (r"x_1+x_{12}+x_{\text{max}}", "x_{1}+x_{12}+x_{max}"),
        (r"a_{n+1}+a_{ n + 1 }", "a_{w1}+a_{w1}"),
        (r"x^2_{f(y)}", "x^2_{w1}"),
        (r"\overline{AB}+\overline{a+bi}", r"\overline{AB}+\overline{w1}"),
        (r"x>0\text{ and }x<1", r"x>0\text{and}x<1"),
        (r"\text{For all }x", r"\text{for all}x"),
        (r"\mathbb R", r"\mathbb{R}"),
        (r"2π÷3", r"2\pi \div 3"),
        (r"\textbf{(C)}", r"\text{C}"),
        (r"\text{w7}+x_{w1}+y_{W1}+z_{n+1}", r"\text{w1}+x_{w2}+y_{w3}+z_{w4}"),
        ("a\\ b\u2003c\\,d~e", "a b c d e"),
        (r"x^\text{10}+\text{3,4}", "x^{10}+3,4"),
        (r"1\\x", r"1\\ x"),
        (r"x\!_{[1]}+x^{2}\,_{[1]}", "x_{w1}+x^{2}_{w1}"),
    ],
)
def test_names_become_ours(text: str, closed: str) -> None:
    assert close(text) == [closed]


PLACES = [
    "x",
    "f",
    r"\alpha",
    r"\bar{x}",
    r"\text{q}",
    "x^2",
    "x'",
    "x!",
    "2",
    r"\vec v",
    r"\mathbb{R}",
    r"\max",
    r"\theta'",
    "d",
]
FILLERS = [
    "",
    " ",
    r"\,",
    r"\!",
    r"\quad ",
    "~",
    "{}",
    r"\displaystyle ",
    r"\limits ",
    r"\text{}",
    "^2",
    "^{a}",
    "'",
    r"\\",
    "!",
]
ENDS = [
    "_{%s}",
    r"_{\text{%s}}",
    "_{%s}(x)",
    r"\text{%s}",
    r"\variable{%s}",
    "variable{%s}",
    r"\mathit{%s}",
    r"\bar{%s}",
]
NO_NAMES = ["[1,2][0]", "(a)", "f(x)", "a/b", "exit(1)", "a.b", "1+1"]


def test_parser_gets_no_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """math-verify rewrites a text before it parses it, so what is closed for us need not be closed for it."""
    from math_verify import LatexExtractionConfig, parse
    from math_verify import parser as library

    seen: list[object] = []
    original = library.latex2sympy
    monkeypatch.setattr(library, "latex2sympy", lambda *texts, **options: seen.append(original(*texts, **options)))
    drawn = Random(0)
    for _ in range(400):
        text = "".join(map(drawn.choice, (PLACES, FILLERS, FILLERS, ENDS))) % drawn.choice(NO_NAMES)
        with suppress(UnreadableLatexError):
            parse(f"${close(text)[0]}$", [LatexExtractionConfig()], parsing_timeout=None)
    assert len(seen) > 50
    for expression in seen:
        check_names(expression)


def test_a_name_is_the_same_in_gold_answer_and_answer() -> None:
    assert close(r"\text{one}+\text{two}", r"\text{two}+\text{three}") == [
        r"\text{w1}+\text{w2}",
        r"\text{w2}+\text{w3}",
    ]


@pytest.mark.parametrize(
    "text",
    [
        *(rf"x{character}y" for character in '"`@#?$\u2603\ud800\x00\u0430'),
        r"\unknown",
        r"\variable{x}",
        r"\char95",
        r"\begin{document}",
        r"\begin{array}{p{1cm}}",
        r"\text",
        r"\text{unclosed",
        "x_",
        "a.b",
        "'a'",
        "+".join(rf"\text{{name {number}}}" for number in range(100)),
        "1" * (MAX_CHARACTERS + 1),
    ],
)
def test_anything_else_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableLatexError):
        close(text)


PARTS = r"""
\text{ \mathrm{ \operatorname{ \bar{ } { } _ ^ ' ( ) [ ] . , ; 2 x foo w1 W2 sin \alpha \sum \left \right \{ \\ \,
\begin{matrix} \end{matrix} & + - * / = < > ! | ~ % \frac \sqrt[ é ÷ π " ` \ __ print
""".split()


@given(st.lists(st.sampled_from([*PARTS, " "]), max_size=20).map("".join) | st.text(max_size=30))
def test_whatever_is_closed_stays_closed(text: str) -> None:
    try:
        (closed,) = close(text)
    except UnreadableLatexError:
        return
    check_closed(closed)
    assert closed.isascii()
    assert not set(closed) & set('"`@#?$')


@pytest.mark.parametrize("part", ["{", "x^{", r"\text{", r"x_{", "_", "'", r"\left.", "}", " ", r"\bar{x}", "x^{x_{"])
def test_time_is_linear_in_the_length(part: str) -> None:
    def seconds(length: int) -> float:
        text, best = (part * length)[:length], 1.0
        for _ in range(5):
            started = time.perf_counter()
            try:
                close(text)
            except UnreadableLatexError:
                pass
            best = min(best, time.perf_counter() - started)
        return best

    assert (
        seconds(MAX_CHARACTERS) < 10 * seconds(MAX_CHARACTERS // 4) + 1e-3
    )  # a quarter, so quadratic time would be 16 times
