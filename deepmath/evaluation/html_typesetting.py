r"""Model-written text as inert HTML: mathematics as MathML, code highlighted, everything else escaped.

latex2mathml does not sanitize: `\text{<script>}` passes through unchanged, and `\href` and `\style` become attributes.
Therefore its element tree is serialized here, with an allow-list of harmless elements and attributes. LaTeX that it
cannot parse, or that is too long, is shown as plain text.
"""

import re
from functools import lru_cache
from html import unescape
from xml.etree.ElementTree import Element  # only traversed; no XML is parsed

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from deepmath.dialects.dialect_parser import without_special_tokens
from deepmath.printable_text import printable

_MAX_FORMULA_CHARACTERS = 1000
_MAX_HIGHLIGHTED_CHARACTERS = 4000  # pygments takes time quadratic in the length of hostile code: here a second
_BOXED = r"\\boxed\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
# Pandoc's rule for single dollars: no space inside, no digit after, which keeps amounts such as $5 and $6 as text.
_MATHEMATICS = re.compile(
    rf"""\\\[(?P<display>.{{1,{_MAX_FORMULA_CHARACTERS}}}?)\\\]
    |\\\((?P<inline>.{{1,{_MAX_FORMULA_CHARACTERS}}}?)\\\)
    |\$\$(?P<dollars>.{{1,{_MAX_FORMULA_CHARACTERS}}}?)\$\$
    |(?<![\\$])\$(?P<dollar>(?=\S)[^$\n]{{1,{_MAX_FORMULA_CHARACTERS}}}(?<=[^\s\\]))\$(?!\d)
    |(?P<boxed>{_BOXED})""",
    re.DOTALL | re.VERBOSE,
)
_INVISIBLE_OPERATORS = re.compile("([\u2061-\u2064])")  # function application, times, separator, plus: latex2mathml's
# Environments that latex2mathml does not support, with equivalent ones.
_ENVIRONMENTS = {"aligned": "split", "gathered": "matrix"}
_ENVIRONMENT = re.compile(r"\\(begin|end)\{(aligned|gathered)\}")

_ELEMENTS = frozenset(
    "math mrow mi mn mo mtext mspace mfrac msqrt mroot mstyle mpadded mphantom msub msup msubsup munder mover "
    "munderover mmultiscripts mprescripts mtable mtr mtd menclose".split()
)
_ATTRIBUTES = frozenset(
    "accent accentunder columnalign columnlines columnspacing depth display displaystyle fence form height largeop "
    "linethickness lspace mathvariant maxsize minsize movablelimits notation rowlines rowspacing rspace scriptlevel "
    "separator stretchy symmetric voffset width".split()
)
_VALUE = re.compile(r"[\w.%+ -]{1,60}")

_FORMATTER = HtmlFormatter(nowrap=True)
CODE_STYLE: str = HtmlFormatter(style="default").get_style_defs(".code")
"""CSS for highlighted code."""


def prose(text: str) -> Markup:
    """Return text with its mathematics typeset and the special tokens of chat templates removed."""
    text = printable(without_special_tokens(text)).strip("\n")
    parts, end = [], 0
    for match in _MATHEMATICS.finditer(text):
        parts.append(escape(text[end : match.start()]))
        kind = match.lastgroup or ""
        parts.append(formula(match[kind], display=kind in ("display", "dollars")) or escape(match[0]))
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def mathematics(latex: str) -> Markup:
    """Return an answer, LaTeX without delimiters, typeset if possible and as plain text otherwise."""
    return formula(latex.strip().strip("$")) or escape(printable(latex))


def code(source: str) -> Markup:
    """Return Python source, highlighted with the classes of `CODE_STYLE` unless it is long."""
    if len(source) > _MAX_HIGHLIGHTED_CHARACTERS:
        return plain(source)
    return Markup(highlight(printable(source), PythonLexer(stripnl=False), _FORMATTER))  # noqa: S704  (pygments escapes)


def plain(text: str) -> Markup:
    """Return text, escaped."""
    return escape(printable(text))


@lru_cache(maxsize=10_000)
def formula(latex: str, display: bool = False) -> Markup:
    """Return LaTeX as MathML, or nothing if it cannot be parsed or is too long."""
    latex = _ENVIRONMENT.sub(lambda match: rf"\{match[1]}{{{_ENVIRONMENTS[match[2]]}}}", printable(latex))
    if not latex.strip() or len(latex) > _MAX_FORMULA_CHARACTERS:
        return Markup()
    try:
        return _serialize(convert_to_element(latex, display="block" if display else "inline"))
    except Exception:  # any parser error on model-written text, RecursionError included
        return Markup()


def _serialize(element: Element) -> Markup:
    tag = element.tag if element.tag in _ELEMENTS else "mrow"
    attributes = {
        name: value for name, value in element.attrib.items() if name in _ATTRIBUTES and _VALUE.fullmatch(value)
    }
    opened = Markup("<") + tag + Markup("").join(Markup(' {}="{}"').format(*one) for one in attributes.items())
    # latex2mathml has escaped some characters as numeric references, and others not.
    inside = escape(_clean_token(unescape(element.text or ""))) + Markup("").join(map(_serialize, element))
    return opened + Markup(">") + inside + Markup("</") + tag + Markup(">")


def _clean_token(text: str) -> str:
    """Return the text of a MathML element, printable but for the invisible operators that latex2mathml writes."""
    parts = _INVISIBLE_OPERATORS.split(text)
    return "".join(part if at % 2 else printable(part) for at, part in enumerate(parts))
