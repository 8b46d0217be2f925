"""Normalization of answers: layout is removed, and every spelling of a number becomes its exact value."""

import re
from fractions import Fraction
from functools import lru_cache

from deepmath.grading.answer_spelling import respell

MAX_CHARACTERS = 1000
"""Answers of datasets have a few dozen characters. A page of text is not an answer, and is slow to normalize."""

_RECENT = 256  # normalized answers that are kept: one comparison asks for each several times

CanonicalForm = Fraction | str
"""The value of a numeric answer, or the normalized text without spaces of any other."""

# LaTeX commands that set their argument as text.
TEXT_MACRO = r"\\(?:text(?:rm|bf|it|sf|tt|up|normal)?|mathrm|mathsf|mbox|hbox)\s*"
_FUNCTIONS = (
    "sin|cos|tan|cot|sec|csc|sinh|cosh|tanh|arcsin|arccos|arctan|arccot|arctg|tg|ctg|exp|ln|log|lg|gcd|lcm|max|min|"
    "sgn|sign|det|Re|Im|cis"
)
_PERCENT = "percentage|percent|pct"
# Substitutions that remove layout and keep the meaning, in order of application.
_LAYOUT: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"(?<!\\)\$|(?<!\\)\\[()\[\]]", " "),  # math delimiters: the whole answer counts, not only what they enclose
        (r"^\s*\*\*(?=[^*])(.*[^*])\*\*\s*$", r"\1"),  # bold in Markdown
        (r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?", ""),
        (rf"\\(?:operatorname\*?|mathrm|text|rm)\s*\{{\s*({_FUNCTIONS})\s*\}}", r"\\\1 "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\lbrack(?![A-Za-z])", "["),
        (r"\\rbrack(?![A-Za-z])", "]"),
        (r"\\(?:h|v)space\*?\s*\{[^{}]*\}|\\[hv]?phantom\s*\{[^{}]*\}|\\(?:no)?limits(?![A-Za-z])", ""),
        (r"\\(?:thinspace|medspace|thickspace|negthinspace|space|enspace|strut)(?![A-Za-z])", " "),
        (r"(?<=\d) ?[xX] ?(?=10(?:\^|\*\*))", r"\\times "),
        (r"(\\mathbb ?\{[RZNQC]\}) {0,3}\\ {0,3}\\?\{([^{}]*)\}$", r"\1\\setminus\\{\2\\}"),
        (r"\\setminus {0,3}\{([^{}]*)\}", r"\\setminus\\{\1\\}"),
        (r"\\(?:cdots|dots[cbm]?|hdots)(?![A-Za-z])", r"\\ldots"),
        (r"(?<=\d)(?:\{,\}|,\\!\s?|\\,)(?=\d{3}(?!\d))", ""),  # thousands separators
        (r"(?<!\\)\\[,;:!\s]|~|\\q?quad(?![A-Za-z])|\\(?:display|text|script)style(?![A-Za-z])", " "),
        (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
        (r"\\(?:boxed|fbox|mathbf|mathit|mathnormal|boldsymbol|bm|underline|mathop|ensuremath)\s*(?=\{)", ""),
        (r"\\(?:bf|it|rm|sf|tt)(?![A-Za-z])", " "),
        (r"\\mathrm\s*(\{\s*[ei]\s*\})", r"\1"),  # the constants e and i, not words
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\\langle(?![A-Za-z])", "("),
        (r"\\rangle(?![A-Za-z])", ")"),
        (r" ?°", r"^\\circ"),
        (r"\\mathds|\\Bbb(?![A-Za-z])|\\bold(?![A-Za-z])", r"\\mathbb"),
        (r"\\([RZNQC])(?![A-Za-z])", r"\\mathbb{\1}"),
        (
            rf"(?<!\\)%|{TEXT_MACRO}\{{\s*(?:\\?%|{_PERCENT})\s*\}}|(?<=[\d}}]) ?(?:{_PERCENT})(?![a-z])",
            r"\\%",
        ),
        (rf"^\s*{TEXT_MACRO}\{{(\s*[+-]?\d[^{{}}]*)\}}", r"\1"),  # a number with its unit, both set as text
        (r"^\s*(?:=|\\approx(?![A-Za-z]))", ""),
        (r"^\s*(?:[Tt]he )?(?:[Ff]inal )?[Aa]nswer(?: is\b:?|:)", ""),
        (r"^\s*(?:[£€¥₹]|\\pounds|\\euro(?![A-Za-z]))\s*(?=[\d.])", ""),
        (
            r"\\\{\s*\\begin\{array\}(?:\s*\{[^{}]*\})?([^{}]*(?:\{[^{}]*\}[^{}]*)*)\\end\{array\}\s*$",
            r"\\begin{cases}\1\\end{cases}",
        ),
        (r"(?<![A-Za-z\\])C\((\d{1,4}), ?(\d{1,4})\)", r"\\binom{\1}{\2}"),
        (r"\s+", " "),
    ]
]
# Commands with their backslash doubled, as in JSON.
_ESCAPED = re.compile(r"\\\\(?=[A-Za-z]{2})")
_WRAPPING = re.compile(r"\\(?:boxed|fbox|mathbf|mathit|boldsymbol|bm|underline|displaystyle)\s*\{")
_MOST_WRAPPINGS = 4
_ONE_TEXT = re.compile(r"\"([^\"]*)\"|'([^']*)'")
_TEXTS = re.compile(r"\s*\[\s*(?:\"[^\"]*\"|'[^']*')(?:\s*,\s*(?:\"[^\"]*\"|'[^']*'))*\s*\]\s*")
_FRACTION = re.compile(r"\\[dtc]?frac(?:\{(-?\d+)\}|(\d))(?:\{(\d+)\}|(\d))(?!\d)")
# Bounded because `Fraction("1e999999999")` and similar input would never return.
_DECIMAL = r"(?=\.?\d)\d{0,200}(?:\.\d{0,200})?"
_RATIONAL = re.compile(rf"([+-]?)(?:(\d{{1,200}}) (?=\d+/))?({_DECIMAL})(?:/(\d{{1,200}}))?")
_REPEATING = re.compile(r"([+-]?)(\d{0,200})\.(\d{0,200})\\(?:overline|bar)\{(\d{1,200})\}")
_SCIENTIFIC = re.compile(
    rf"([+-]?{_DECIMAL})(?:[eE](\d{{1,3}}|[+-]\d{{2,3}})|(?:\\times|\\cdot|\*)10\^(?:\{{([+-]?\d{{1,3}})\}}|(\d)))"
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([ ,])\d{3}(?:\1\d{3})*(?:\.\d+)?")


def normalize(answer: str) -> str:
    """Return `answer` in LaTeX, without math delimiters, spacing, fonts and a final full stop.

    An answer that is too long to be one is returned as it is.
    """
    answer = answer.strip()
    return answer if len(answer) > MAX_CHARACTERS else _normalized(answer)


@lru_cache(_RECENT)
def _normalized(answer: str) -> str:
    answer = _list_of_texts(_without_wrapping(respell(answer)))
    if "\\\\" in answer and "\\begin" not in answer:
        answer = _ESCAPED.sub(r"\\", answer)
    for pattern, replacement in _LAYOUT:
        answer = pattern.sub(replacement, answer)
    return _without_last_stop(answer)


def _without_wrapping(answer: str) -> str:
    r"""Return what a box or font holds that is all there is: \boxed{(1,2)}, $\mathbf{5}$."""
    for _ in range(_MOST_WRAPPINGS):
        bare = answer.strip("$ \n")
        found = _WRAPPING.match(bare)
        if not found or not bare.endswith("}") or not _is_one_group(bare[found.end() - 1 :]):
            break
        answer = bare[found.end() : -1]
    return answer


def _is_one_group(text: str) -> bool:
    """Return whether the first brace of `text` is closed by its last character."""
    depth = 0
    for at, character in enumerate(text):
        if character in "{}" and text[at - 1 : at] != "\\":
            depth += 1 if character == "{" else -1
            if not depth:
                return at == len(text) - 1
    return False


def _without_last_stop(answer: str) -> str:
    """Return `answer` without punctuation and line breaks at its end; dots for omitted elements stay."""
    for _ in range(3):
        answer = answer.strip().rstrip("\\,;").rstrip()
        if answer.endswith("..") or not answer.endswith("."):
            break
        answer = answer[:-1]
    return answer


def _list_of_texts(answer: str) -> str:
    """Return the elements of a list of texts in Python or JSON, ["70", "1/2"], separated by commas."""
    if not _TEXTS.fullmatch(answer):
        return answer
    return ", ".join(found[1] or found[2] or "" for found in _ONE_TEXT.finditer(answer))


def canonical_form(answer: str) -> CanonicalForm:
    r"""Return the exact value of a numeric `answer` (1/2, 0.5 and \frac12 are equal), otherwise its normalized text.

    The text is without spaces, except between digits.
    """
    if len(answer) > MAX_CHARACTERS and len(answer.strip()) > MAX_CHARACTERS:
        return answer.strip().rstrip(".")
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
