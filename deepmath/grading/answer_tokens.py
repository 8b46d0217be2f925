r"""Tokens of an answer: LaTeX, plain text and Python spellings become one closed set of kinds.

Words have meanings here: `\text{ for all integers }`, `for all integers`, `sqrt` and `\sqrt` give the same tokens. A
word without a meaning is a token of the kind `text`, or a product of letters if it is short.
"""

import re
from typing import NamedTuple

from deepmath.grading.answer_normalization import TEXT_MACRO


class Token(NamedTuple):
    """One token."""

    kind: str
    """`number`, `name`, `command`, `symbol`, `relation`, `word`, `begin`, `end`, `text` or `stop`."""
    text: str
    spaced: bool
    """Whether white space precedes it."""


class UnreadableError(Exception):
    """The text is not an answer in the grammar that is known here."""


# Two-digit exponents: 2e+1 and 2e-3 are sums with Euler's number, but 1e-3 and 2.5e-3 are numbers.
_NUMBER = (
    r"(?:1(?:\.0*)?|\d*\.\d+)[eE][+-]\d(?![\d^.])"
    r"|(?:\d+\.\d*|\.\d+|\d+)(?:[eE]\d{1,4}(?![\d^])|[eE][+-]\d{2,4}(?![\d^]))?"
)
_TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<number>{_NUMBER})|(?P<text>{TEXT_MACRO}\{{[^{{}}]*\}}|\\operatorname\*?\s*\{{[A-Za-z ]*\}})"
    r"|(?P<begin>\\begin\s*\{[A-Za-z]+\*?\})|(?P<end>\\end\s*\{[A-Za-z]+\*?\})|(?P<command>\\[A-Za-z]+|\\.)"
    r"|(?P<word>[A-Za-z]+)|(?P<dots>\.\.\.+)|(?P<relation><=|>=|!=|==|=<|=>|->|<>)|(?P<power>\*\*)|(?P<symbol>.)",
    re.DOTALL,
)
_RELATIONS = {
    **dict.fromkeys(["=", "==", r"\eq"], "="),
    **dict.fromkeys(["<", r"\lt"], "<"),
    **dict.fromkeys([">", r"\gt"], ">"),
    **dict.fromkeys(["<=", "=<", r"\le", r"\leq", r"\leqslant", r"\leqq"], "<="),
    **dict.fromkeys([">=", r"\ge", r"\geq", r"\geqslant", r"\geqq"], ">="),
    **dict.fromkeys(["!=", "<>", r"\ne", r"\neq"], "!="),
    **dict.fromkeys([r"\approx", r"\simeq", r"\doteq"], "approx"),
    **dict.fromkeys([r"\equiv", r"\cong"], "equiv"),
    r"\in": "in",
    r"\notin": "notin",
    **dict.fromkeys([r"\to", r"\rightarrow", r"\mapsto", "->"], "to"),
    **dict.fromkeys([r"\subset", r"\subseteq"], "subset"),
}
_CONNECTIVES = {
    **dict.fromkeys([r"\land", r"\wedge", r"\And", "and", "&"], "and"),
    **dict.fromkeys([r"\lor", r"\vee", r"\Or", "or"], "or"),
    **dict.fromkeys("for where with if when whenever given provided such".split(), "given"),
    r"\forall": "given",
    **dict.fromkeys(
        """
        all any every each some that is are be an the a value values of constant constants arbitrary fixed either both
        """.split(),
        "filler",
    ),
    "in": "in",
    **dict.fromkeys("integer integers".split(), "Z"),
    **dict.fromkeys("real reals".split(), "R"),
    **dict.fromkeys("natural naturals".split(), "N"),
    **dict.fromkeys("rational rationals".split(), "Q"),
    **dict.fromkeys("complex".split(), "C"),
    **dict.fromkeys("positive".split(), "positive"),
    **dict.fromkeys("nonnegative".split(), "nonnegative"),
    **dict.fromkeys("number numbers".split(), "number"),
    **dict.fromkeys(["mod", r"\mod", r"\bmod", r"\pmod", r"\pod"], "mod"),
    **dict.fromkeys(["except"], "except"),
}
FUNCTIONS = frozenset(
    """
    sin cos tan cot sec csc sinh cosh tanh coth sech csch arcsin arccos arctan arccot arcsec arccsc arcsinh arccosh
    arctanh exp ln log lg sqrt cbrt abs floor ceil factorial binomial gcd lcm max min sgn rational root det conjugate re
    im cis
    """.split()
)
_SYNONYMS = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arsinh": "arcsinh", "arcosh": "arccosh",
    "artanh": "arctanh", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "ceiling": "ceil",
    "cosec": "csc", "tg": "tan", "ctg": "cot", "arctg": "arctan", "fraction": "rational", "comb": "binomial",
    "sign": "sgn", "Abs": "abs", "Rational": "rational", "Fraction": "rational", "Max": "max", "Min": "min",
    "Re": "re", "Im": "im", "real_root": "root", "GCD": "gcd", "LCM": "lcm", "Log": "log", "Ln": "ln", "Sqrt": "sqrt",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "Exp": "exp", "Arctan": "arctan",
}  # fmt: skip
_CONSTANTS = {
    "pi": "pi", "Pi": "pi", "oo": "infinity", "inf": "infinity", "infty": "infinity", "infinity": "infinity",
    "Infinity": "infinity", "EmptySet": "empty",
}  # fmt: skip
_CONTAINERS = {
    "Matrix": "Matrix", "FiniteSet": "FiniteSet", "Interval": "Interval", "Union": "Union", "Eq": "Eq",
    "Tuple": "Tuple",    "set": "FiniteSet", "list": "Tuple", "tuple": "Tuple",
}  # fmt: skip
_SHORTEST_WORD = 5  # letters from which a word is no longer read as a product
_MATH_TEXT = re.compile(r"[\s\d.,+\-/=:()]*|\s*\(?[A-Za-z]\)?\s*")
_NEGATIVE_PREFIX = re.compile(r"non-\s*(?=negative)")


def tokenize(text: str, max_tokens: int = 1000) -> list[Token]:
    """Return the tokens of `text`, which is normalized; the last one is a `stop`.

    Raises:
        UnreadableError: There are more than `max_tokens`, or an unknown word or character.
    """
    found: list[Token] = []
    for match in _TOKEN.finditer(_NEGATIVE_PREFIX.sub("non", text)):
        kind, content = match.lastgroup or "", match[0]
        spaced = match.start() > 0 and match.string[match.start() - 1].isspace()
        if kind != "space":
            found.extend(_tokens_of(kind, content, spaced))
        if len(found) > max_tokens:
            raise UnreadableError("too many tokens")
    return [*found, Token("stop", "", False)]


def _tokens_of(kind: str, content: str, spaced: bool) -> list[Token]:
    if kind == "text":
        return _text_tokens(content.partition("{")[2][:-1], content.startswith("\\operatorname"), spaced)
    if kind == "word":
        return _word_tokens(content, spaced)
    if kind == "dots":
        return [Token("dots", "...", spaced)]
    if kind == "power":
        return [Token("symbol", "^", spaced)]
    if kind in ("begin", "end"):
        return [Token(kind, content.partition("{")[2].rstrip("}").rstrip("*"), spaced)]
    if content in _RELATIONS:
        return [Token("relation", _RELATIONS[content], spaced)]
    if content in _CONNECTIVES:
        return [Token("word", _CONNECTIVES[content], spaced)]
    if kind == "command" and (content[1:] in FUNCTIONS or content[1:] in _SYNONYMS):
        return [Token("function", _SYNONYMS.get(content[1:], content[1:]), spaced)]
    return [Token(kind, content, spaced)]


def _text_tokens(content: str, is_operator: bool, spaced: bool) -> list[Token]:
    """Return the tokens of text within a LaTeX command."""
    stripped = content.strip()
    if not stripped:
        return []
    if is_operator and (_SYNONYMS.get(stripped, stripped) in FUNCTIONS):
        return [Token("function", _SYNONYMS.get(stripped, stripped), spaced)]
    if _MATH_TEXT.fullmatch(content):
        return [*tokenize(content)[:-1]]
    words = re.findall(r"[A-Za-z]+|[^A-Za-z\s]", content)
    found: list[Token] = []
    for word in words:
        lowered = word.casefold()
        if lowered in _CONNECTIVES and word != "A":
            found.append(Token("word", _CONNECTIVES[lowered], True))
        elif word in (",", ";"):
            found.append(Token("symbol", word, True))
        elif len(word) == 1 and word.isalpha():
            found.append(Token("name", word, True))
        elif word in _CONSTANTS:
            found.append(Token("constant", _CONSTANTS[word], True))
        elif word != ".":
            return [Token("text", stripped, spaced)]
    return found


def _word_tokens(word: str, spaced: bool) -> list[Token]:
    """Return the tokens of letters outside text commands."""
    if len(word) == 1:
        return [Token("name", word, spaced)]
    if word in _CONTAINERS:
        return [Token("container", _CONTAINERS[word], spaced)]
    if word in _CONSTANTS:
        return [Token("constant", _CONSTANTS[word], spaced)]
    if (function := _SYNONYMS.get(word, word)) in FUNCTIONS:
        return [Token("function", function, spaced)]
    if word.casefold() in _CONNECTIVES and word.casefold() not in ("a", "be", "of"):
        return [Token("word", _CONNECTIVES[word.casefold()], spaced)]
    if word.endswith("pi") and len(word) == 3:  # "kpi"
        return [Token("name", word[0], spaced), Token("constant", "pi", False)]
    if len(word) >= _SHORTEST_WORD or (len(word) > 2 and word.istitle()):
        return [Token("text", word, spaced)]
    return [Token("name", letter, spaced and at == 0) for at, letter in enumerate(word)]
