"""Verdicts without a sandbox, for texts that tests have written themselves."""

from deepmath.grading.exact_comparison import compare_exactly
from deepmath.grading.latex_alphabet import NameTable, UnreadableLatexError, close_latex
from deepmath.grading.measured_quantity import split_unit
from deepmath.grading.symbolic_comparison import compare


def decide(gold: str, answer: str) -> bool | None:
    """Return the verdict as a verifier finds it, but in this process."""
    verdict = compare_exactly(gold, answer)
    if verdict is not None:
        return verdict
    table = NameTable()
    try:
        texts = [close_latex(one.text + "\\%" * (one.unit == "%"), table) for one in map(split_unit, (gold, answer))]
    except UnreadableLatexError:
        return None
    return compare(*texts)
