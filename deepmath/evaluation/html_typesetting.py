r"""What a model wrote, as HTML that cannot do anything: mathematics as MathML, code highlighted, all else escaped.

latex2mathml passes on what it is given: `\text{<script>}` comes out as it is, and `\href` and `\style` become
attributes. So its tree is written here, by a list of elements and attributes that do no harm; what it cannot parse, or
is too long for it, is shown as it was written.
"""

import re
from functools import lru_cache
from html import unescape
from xml.etree.ElementTree import Element  # only built and walked, nothing is parsed

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

_LONGEST = 1000  # characters of a formula
_BOXED = r"\\boxed\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
# Pandoc's rule for single dollars: no space inside, no digit behind, so that $5 and $6 are money.
_MATHEMATICS = re.compile(
    rf"""\\\[(?P<display>.{{1,{_LONGEST}}}?)\\\]
    |\\\((?P<inline>.{{1,{_LONGEST}}}?)\\\)
    |\$\$(?P<dollars>.{{1,{_LONGEST}}}?)\$\$
    |(?<![\\$])\$(?P<dollar>(?=\S)[^$\n]{{1,{_LONGEST}}}(?<=[^\s\\]))\$(?!\d)
    |(?P<boxed>{_BOXED})""",
    re.DOTALL | re.VERBOSE,
)
_SPECIAL = re.compile(r"<\|[a-z_]+\|>|</?think>")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
# What latex2mathml leaves as it is, by what does the same.
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
"""CSS of highlighted code."""


def prose(text: str) -> Markup:
    """Return text with its mathematics typeset, and without the special tokens of chat templates."""
    text = _clean(_SPECIAL.sub("", text)).strip("\n")
    found, end = Markup(), 0
    for match in _MATHEMATICS.finditer(text):
        found += escape(text[end : match.start()])
        kind = match.lastgroup or ""
        found += formula(match[kind], display=kind in ("display", "dollars")) or escape(match[0])
        end = match.end()
    return found + escape(text[end:])


def mathematics(latex: str) -> Markup:
    """Return an answer, which is LaTeX without delimiters, or as it was written where that cannot be typeset."""
    return formula(latex.strip().strip("$")) or escape(_clean(latex))


def code(source: str) -> Markup:
    """Return Python with its parts marked by the classes of `CODE_STYLE`."""
    return Markup(highlight(_clean(source), PythonLexer(stripnl=False), _FORMATTER))  # noqa: S704  (it escapes)


def plain(text: str) -> Markup:
    """Return text as it is."""
    return escape(_clean(text))


@lru_cache(maxsize=10_000)
def formula(latex: str, display: bool = False) -> Markup:
    """Return LaTeX as MathML, or nothing where it is no mathematics or too long."""
    latex = _ENVIRONMENT.sub(lambda match: rf"\{match[1]}{{{_ENVIRONMENTS[match[2]]}}}", _clean(latex))
    if not latex.strip() or len(latex) > _LONGEST:
        return Markup()
    try:
        return _written(convert_to_element(latex, display="block" if display else "inline"))
    except Exception:  # whatever a parser says to what a model wrote; too deep to parse is one of its errors as well
        return Markup()


def _written(element: Element) -> Markup:
    tag = element.tag if element.tag in _ELEMENTS else "mrow"
    attributes = {
        name: value for name, value in element.attrib.items() if name in _ATTRIBUTES and _VALUE.fullmatch(value)
    }
    opened = Markup("<") + tag + Markup("").join(Markup(' {}="{}"').format(*one) for one in attributes.items())
    # It has escaped some characters, as numbers, and others not.
    inside = escape(_clean(unescape(element.text or ""))) + Markup("").join(map(_written, element))
    return opened + Markup(">") + inside + Markup("</") + tag + Markup(">")


def _clean(text: str) -> str:
    """Return text without what has no place in a file of text."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))
