"""The program in the sandbox of a comparison: compares one pair and returns a word of a closed set.

`ComparisonSandbox` loads this module and its libraries once, before the sandboxes are forked. Each sandbox runs
`reply` once and dies. Its input is hostile, its code is ours.
"""

import json
import logging
import sys
from types import FrameType
from typing import Any

from deepmath.grading.latex_alphabet import check_closed
from deepmath.grading.symbolic_comparison import compare
from deepmath.grading.sympy_patches.closed_names import check_parsed_names
from deepmath.grading.sympy_patches.sourceless_lambdify import replace_lambdify
from deepmath.grading.sympy_patches.sourceless_numbers import parse_numbers_without_source

# A gold answer is good if its comparison with this ends. Nothing short of evaluating both can tell them apart.
_CONTROL = r"\sqrt{2}"
# Callers that may compile code: they make it of their own text, not of an answer's.
_COMPILERS = ("importlib", "sympy.polys.monomials", "collections", "dataclasses", "functools")
# One of each kind: parser tables and sympy's caches are filled before the fork.
_REHEARSAL = [
    (r"\frac{1}{2}x^{2}+\sqrt[3]{5}-2.5", r"0.5x^2"),
    (r"\sin{\pi}+\log_{2}(8)+\ln x", r"3\cdot e^{2}"),
    (r"(1,2]\cup[3,\infty)", r"\{1,2,3\}"),
    (r"x_{1}=2,\ y=-\frac{7\pi}{4}", r"x\le 3"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
    (r"y=2x+3", r"2x-y+3=0"),
    (r"(3,\frac{\pi}{2})", r"(3,\frac{\pi}{3})"),
    (r"\text{w1}", r"n!+\binom{5}{2}"),
    (r"x^{2}+2x+1", r"(x+1)^{2}"),
    (r"\sum_{n=0}^{\infty}\frac{1}{2^{n}}", r"|{-2}|"),
    (r"3+4i", r"\pm 5"),
    (r"\int_{0}^{1}x\,dx", r"\lim_{x\to 0}\frac{\sin x}{x}"),
    (r"\sin(x+2)", r"\sin x\cos 2+\cos x\sin 2"),
    (r"1<x<2", r"90^\circ"),
]


def prepare() -> None:
    """Patch the libraries and fill their caches. Call it before the sandboxes are forked."""
    logging.disable(logging.WARNING)  # math-verify warns that it runs without timeouts
    replace_lambdify()
    parse_numbers_without_source()
    check_parsed_names()
    for gold, answer in _REHEARSAL:
        compare(gold, answer)
        compare(answer, gold)


def reply(request: str) -> str:
    """Return the verdict on a JSON list of closed LaTeX: a gold answer and an answer, or a gold answer alone.

    It is the name of a `Reason`; for a gold answer alone, "SAME_VALUE" means that answers can be compared with it.
    """
    gold, *answers = json.loads(request)
    for text in (gold, *answers):
        check_closed(text)
    sys.addaudithook(_refuse_compilation)
    (answer,) = answers or (_CONTROL,)
    correct = compare(gold, answer)
    if correct is None:
        return "GOLD_UNREADABLE"
    if correct or not answers:
        return "SAME_VALUE"
    return "DIFFERENT" if compare(answer) else "ANSWER_UNREADABLE"


def _refuse_compilation(event: str, _: Any) -> None:
    """Refuse to compile and execute code: in a comparison nobody but a library's own machinery has to.

    An audit hook cannot be removed. It holds against `eval` in any library, known or not.

    Raises:
        PermissionError: Somebody does.
    """
    if event in ("compile", "exec"):
        frame: FrameType | None = sys._getframe(1)
        caller = frame.f_globals.get("__name__", "") if frame else ""
        if not caller.startswith(_COMPILERS):
            raise PermissionError(f"{event} during a comparison")
