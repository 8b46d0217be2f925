"""Normalization of answers: layout is removed, and every spelling of a number becomes its exact value."""

import re
from fractions import Fraction

CanonicalForm = Fraction | str
"""The value of a numeric answer, or the normalized text without spaces of any other."""

# LaTeX commands that set their argument as text.
TEXT_MACRO = r"\\(?:text(?:rm|bf|it|normal)?|mathrm|mbox)\s*"
# Substitutions that remove layout and keep the meaning, in order of application.
_LAYOUT = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"(?<!\\)\$|(?<!\\)\\[()\[\]]", " "),  # math delimiters: the whole answer counts, not only what they enclose
        (r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?", ""),
        (r"(?<=\d)(?:\{,\}|,\\!|\\,)(?=\d{3}(?!\d))", ""),  # thousands separators
        (r"(?<!\\)\\[,;:!\s]|~|\\q?quad(?![A-Za-z])|\\(?:display|text)style(?![A-Za-z])", " "),
        (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
        (r"\\(?:boxed|fbox|mathbf|boldsymbol|bm|underline)\s*(?=\{)", ""),
        (r"\\mathrm\s*(\{\s*[ei]\s*\})", r"\1"),  # the constants e and i, not words
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\\langle(?![A-Za-z])", "("),
        (r"\\rangle(?![A-Za-z])", ")"),
        (r"\s*°", r"^\\circ"),
        (rf"(?<!\\)%|{TEXT_MACRO}\{{\s*(?:\\?%|percent)\s*\}}|(?<=[\d}}])\s*percent(?![a-z])", r"\\%"),
        (rf"^\s*{TEXT_MACRO}\{{(\s*[+-]?\d[^{{}}]*)\}}", r"\1"),  # a number with its unit, both set as text
        (r"^\s*(?:=|\\approx(?![A-Za-z]))", ""),
        (r"\s+", " "),
    ]
]
_FRACTION = re.compile(r"\\[dtc]?frac(?:\{(-?\d+)\}|(\d))(?:\{(\d+)\}|(\d))(?!\d)")
# Bounded because `Fraction("1e999999999")` and similar input would never return.
_DECIMAL = r"(?=\.?\d)\d{0,200}(?:\.\d{0,200})?"
_RATIONAL = re.compile(rf"([+-]?)(?:(\d{{1,200}}) (?=\d+/))?({_DECIMAL})(?:/(\d{{1,200}}))?")
_REPEATING = re.compile(r"([+-]?)(\d{0,200})\.(\d{0,200})\\(?:overline|bar)\{(\d{1,200})\}")
_SCIENTIFIC = re.compile(
    rf"([+-]?{_DECIMAL})(?:[eE]([+-]?\d{{1,3}})|(?:\\times|\\cdot|\*)10\^(?:\{{([+-]?\d{{1,3}})\}}|(\d)))"
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([ ,])\d{3}(?:\1\d{3})*(?:\.\d+)?")


def normalize(answer: str) -> str:
    """Return `answer` without math delimiters, spacing, fonts and a final full stop."""
    for pattern, replacement in _LAYOUT:
        answer = pattern.sub(replacement, answer)
    return answer.strip().rstrip("\\.").strip()


def canonical_form(answer: str) -> CanonicalForm:
    r"""Return the exact value of a numeric `answer` (1/2, 0.5 and \frac12 are equal), otherwise its normalized text.

    The text is without spaces, except between digits.
    """
    text = normalize(answer).removeprefix("\\$").strip()
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    text = re.sub(r"(?<!\d) | (?!\d)", "", text)  # "7 0" does not equal 70
    value = _rational_value(text)
    return text if value is None else value


def _rational_value(text: str) -> Fraction | None:
    # A space marks a mixed number: "3\frac12" is not a product.
    rational = _FRACTION.sub(r"\1\2/\3\4", re.sub(r"(?<=\d) ?(?=\\[dtc]?frac)", " ", text))
    if found := _RATIONAL.fullmatch(rational):
        sign, whole, numerator, denominator = found.groups()
        if denominator and not int(denominator):
            return None
        value = Fraction(numerator) / Fraction(denominator or 1) + int(whole or 0)
        return -value if sign == "-" else value
    if found := _REPEATING.fullmatch(text):
        sign, whole, head, period = found.groups()
        value = Fraction(f"{whole or 0}.{head}") + Fraction(int(period), int("9" * len(period) + "0" * len(head)))
        return -value if sign == "-" else value
    if found := _SCIENTIFIC.fullmatch(text):
        mantissa, *exponents = found.groups()
        return Fraction(f"{mantissa}e{next(filter(None, exponents))}")
    return None


def same_canonical_form(answer: str, gold: str) -> bool:
    """Return whether both have the same canonical form. An empty answer equals nothing."""
    return bool(answer) and canonical_form(answer) == canonical_form(gold)
