r"""Closed alphabet of the LaTeX that a parser may see: no text of a model or a dataset becomes a name.

math-verify turns `\text{...}`, subscripts and accents into sympy symbols of any name, and parts of sympy print names
into source code and execute it. So before any parser sees an answer, its names are replaced by names of ours. Commands,
environments and characters outside the closed tables make the text unreadable. What remains is made of

* the commands and characters in the tables below, digits and single letters;
* subscripts and accented names of up to 8 letters and digits;
* words in `\text{}`: those in `KNOWN_WORDS`, and `w1` to `w99` for all others, in the order of their appearance.

Gold answer and answer share one `NameTable`, so that a name means the same in both. Every step is linear in the length
of the text, and the length is checked first. The result is a fixed point: closing it again changes nothing.
"""

import re
from typing import NamedTuple

MAX_CHARACTERS = 2000
"""Length of the longest text that is read. Normalization may double the length of an answer."""

KNOWN_WORDS = frozenset(
    """
    and or not if for all any every each some where when whenever with such that given provided otherwise except in is
    are be an the value values of integer integers real reals natural naturals rational rationals complex number numbers
    positive negative nonnegative non even odd prime no solution solutions none undefined infinity infinitely many mod
    th st nd rd percent yes true false
    """.split()
)
r"""Words with a meaning. They keep their spelling in `\text{}` if nothing but such words, digits and signs is there."""

_OPERATORS = frozenset(
    """
    arsinh arcsinh arcosh arccosh artanh arctanh gcd lcm floor ceil eye zeros ones cols rows diag norm rank trace tr
    rref hstack vstack nullspace orthogonalize diagonalize eigenvals eigenvects svd sgn sign
    sin cos tan cot sec csc sinh cosh tanh coth sech csch arcsin arccos arctan arccot arcsec arccsc
    exp ln log lg sqrt cbrt abs factorial binomial max min det re im Re Im arg mod
    """.split()
)
_ENVIRONMENTS = frozenset(
    "matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix array cases aligned align".split()
)
_TEXT = frozenset(
    """
    text textbf textit textrm textsf texttt textnormal textup mbox hbox mathrm mathit mathbf mathsf mathtt mathnormal
    boldsymbol bm operatorname
    """.split()
)
_ACCENTS = frozenset(
    """
    bar overline vec overrightarrow overarc hat widehat tilde widetilde dot ddot mathbb Bbb mathds mathcal mathfrak
    mathscr
    """.split()
)
# Commands after which a subscript is an expression, such as the range of a sum, and not a part of a name.
_WITH_RANGES = frozenset(
    """
    sum prod int iint iiint oint lim limsup liminf log ln lg max min sup inf gcd lcm bigcup bigcap cup cap
    arg det exp equiv pmod bmod mod rangle rfloor rceil rvert rVert vert Vert right rbrace rbrack Big big Bigg bigg
    """.split()
)
_SYMBOLS = frozenset(
    """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron pi varpi rho
    varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi
    Omega ell hbar imath jmath partial nabla aleph Re Im infty emptyset varnothing degree prime square top bot dagger
    """.split()
)
_COMMANDS = (
    _WITH_RANGES
    | _SYMBOLS
    | frozenset(
        """
    frac dfrac tfrac cfrac binom dbinom tbinom choose sqrt boxed fbox underline overbrace underbrace left middle
    bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm mleft mright
    sin cos tan csc sec cot sinh cosh tanh coth sech csch arcsin arccos arctan arccsc arcsec arccot arsinh arcosh artanh
    arcsinh arccosh arctanh floor ceil deg dim ker hom
    times cdot div pm mp ast star circ bullet setminus smallsetminus backslash land lor lnot neg wedge vee oplus otimes
    le leq leqslant ge geq geqslant ne neq lt gt ll gg in notin ni subset subseteq subsetneq supset supseteq supsetneq
    sim simeq cong approx propto to rightarrow leftarrow Rightarrow Leftarrow leftrightarrow Leftrightarrow
    longrightarrow implies iff mapsto mid nmid parallel perp therefore because xrightarrow
    langle lfloor lceil lvert lVert lbrace lbrack lgroup rgroup llcorner lrcorner ulcorner urcorner
    leqq geqq doteq eq And Or pod over hline infin R Z N Q C reals
    forall exists nexists angle measuredangle triangle colon dots ldots cdots vdots ddots dotsc dotsb
    """.split()
    )
)
# Letters and signs that have a command. Other spellings are the business of `answer_normalization`.
_CHARACTERS = {
    character: command
    for line in """
        α alpha β beta γ gamma δ delta ε varepsilon ζ zeta η eta θ theta ι iota κ kappa λ lambda μ mu ν nu ξ xi π pi
        ρ rho σ sigma τ tau υ upsilon φ varphi χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma
        Φ Phi Ψ Psi Ω Omega ϵ epsilon ϑ vartheta ϕ phi × times · cdot ÷ div ± pm ∓ mp ≤ le ≥ ge ≠ ne ≈ approx ≡ equiv
        ∞ infty ∅ emptyset ∪ cup ∩ cap ∈ in ∉ notin ⊂ subset ⊆ subseteq → to
    """.splitlines()  # noqa: RUF001 - the characters that answers contain
    for character, command in zip(line.split()[::2], line.split()[1::2], strict=True)
}
_PLAIN = frozenset("+-*/=<>!,:;|&()[]{}%")
_ESCAPED = frozenset("{}|%$&\\")
_SPACES = frozenset(",;:! ~") | {"quad", "qquad", "thinspace", "medspace", "thickspace", "negthinspace", "space"}
_STYLES = frozenset("displaystyle textstyle scriptstyle limits nolimits".split())
_MOST_WORDS = 99
_WORD = re.compile(r"w[1-9][0-9]?", re.IGNORECASE)  # no product of letters is spelled like that
_PLAIN_TEXT = re.compile(r"[A-Za-z]+|[\s0-9.,;:()+=/-]+")
_ONE_LETTER = re.compile(r"\(?([A-Za-z0-9])\)?")
_NAME = re.compile(r"[A-Za-z0-9]{1,8}")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9]+|[A-Za-z]|\s+|.", re.DOTALL)
_COLUMNS = re.compile(r"[lcr|]{1,32}")


class UnreadableLatexError(Exception):
    """The text is not made of mathematics that this module knows."""


class NameTable:
    """The names of one comparison, each with a word of ours, `w1` to `w99`."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def word(self, name: str) -> str:
        """Return the word that stands for `name`.

        Raises:
            UnreadableLatexError: There are too many names.
        """
        if name not in self._words and len(self._words) == _MOST_WORDS:
            raise UnreadableLatexError("too many names")
        return self._words.setdefault(name, f"w{len(self._words) + 1}")


class _ClosedNames(NameTable):
    """The names of a text that is closed already, so that nothing is left to replace."""

    def word(self, name: str) -> str:
        """Return `name`.

        Raises:
            UnreadableLatexError: It is not one of our words.
        """
        if not _WORD.fullmatch(name) or name != name.lower():
            raise UnreadableLatexError("a name is not of the closed alphabet")
        return name


def close_latex(text: str, names: NameTable) -> str:
    """Return `text` in the closed alphabet, with its names replaced by those in `names`.

    Raises:
        UnreadableLatexError: It is too long, or contains something outside the alphabet.
    """
    closed = _close(text, names)
    check_closed(closed)
    return closed


def check_closed(text: str) -> None:
    """Check that `text` is in the closed alphabet, as `close_latex` returns it.

    Raises:
        UnreadableLatexError: It is not.
    """
    if _close(text, _ClosedNames()) != text:
        raise UnreadableLatexError("not in the closed alphabet")


def _close(text: str, names: NameTable) -> str:
    if len(text) > MAX_CHARACTERS:
        raise UnreadableLatexError("too long")
    return _Closing(_TOKEN.findall(text), names).run()


class _Group(NamedTuple):
    """Positions of an argument: of its first piece, after its last one, and after its closing brace."""

    start: int
    stop: int
    end: int


class _Closing:
    """One pass over the pieces of a text."""

    def __init__(self, pieces: list[str], names: NameTable) -> None:
        self._pieces = pieces
        self._names = names
        self._closes = _closing_braces(pieces)
        self._at = 0
        self._named = False  # the last piece was a name, so that a subscript belongs to it
        self._name_ends: set[int] = set()  # likewise after the exponent of a name
        self._out: list[str] = []

    def run(self) -> str:
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._named = self._named or self._at in self._name_ends
            self._at += 1
            if piece.isspace() or piece == "~":
                self._space()
            else:
                self._named = self._close(piece)
        return "".join(self._out).strip()

    def _space(self) -> bool:
        if self._out and not self._out[-1].endswith(" "):
            self._out.append(" ")
        return self._named

    def _close(self, piece: str) -> bool:
        """Emit `piece` and what belongs to it; return whether it ends a name."""
        if piece[0] == "\\":
            return self._command(piece[1:])
        if piece in _CHARACTERS:
            return self._emit(f"\\{_CHARACTERS[piece]} ", _CHARACTERS[piece] in _SYMBOLS)
        if piece == "_" and self._named:
            return self._subscript()
        if piece == "^" and self._named:
            self._name_ends.add(self._argument().end)
        if piece.isalpha() and piece.isascii():
            return self._emit(piece, True)
        if piece == ".":
            self._require(self._is_decimal_point(), "a full stop that is no decimal point")
        elif piece == "'":  # a prime
            self._require(self._named or self._out[-1:] in ([")"], ["}"]), "a quotation mark")
            return self._emit(piece, True)
        else:
            self._require(piece in _PLAIN or piece in "_^" or (piece.isdigit() and piece.isascii()), piece)
        return self._emit(piece)

    def _emit(self, text: str, is_name: bool = False) -> bool:
        self._out.append(text)
        return is_name

    @staticmethod
    def _require(condition: bool, reason: str) -> None:
        if not condition:
            raise UnreadableLatexError(reason)

    def _is_decimal_point(self) -> bool:
        before = self._pieces[self._at - 2] if self._at > 1 else ""
        after = self._pieces[self._at] if self._at < len(self._pieces) else ""
        return before.isdigit() or after.isdigit() or before in ("\\left", "\\right")

    def _command(self, name: str) -> bool:
        if name in _TEXT:
            return self._text(name)
        if name in _ACCENTS:
            return self._accent(name)
        if name in ("begin", "end"):
            return self._environment(name)
        if name in _SPACES or name in _STYLES or name.isspace():
            return self._space()
        if name == "\\":
            return self._emit("\\\\ ")  # the space keeps math-verify from reading `\\\\x` as `\\x`
        self._require(name in _COMMANDS or name in _ESCAPED, f"the command {name}")
        return self._emit("\\" + name, name in _SYMBOLS)

    def _argument(self) -> _Group:
        """Find the next piece or group, which is the argument of what comes before."""
        at = self._at
        while at < len(self._pieces) and self._pieces[at].isspace():
            at += 1
        self._require(at < len(self._pieces), "a missing argument")
        if self._pieces[at] != "{":
            self._require(self._pieces[at] not in ("}", "^", "_"), "a missing argument")
            return _Group(at, at + 1, at + 1)
        self._require(at in self._closes, "an unclosed brace")
        return _Group(at + 1, self._closes[at], self._closes[at] + 1)

    def _take_argument(self) -> list[str]:
        """Consume the argument; return its pieces."""
        start, stop, self._at = self._argument()
        return self._pieces[start:stop]

    def _text(self, command: str) -> bool:
        if command == "operatorname" and self._pieces[self._at : self._at + 1] == ["*"]:
            self._at += 1
        key = " ".join("".join(self._take_argument()).split())
        if command == "operatorname" and key in _OPERATORS:
            return self._emit(rf"\operatorname{{{key}}}")
        if not key:
            return self._space()
        if letter := _ONE_LETTER.fullmatch(key):
            return self._emit(rf"\text{{{letter[1]}}}", True)
        if not any(map(str.isalpha, key)) and _PLAIN_TEXT.fullmatch(key):
            return self._emit(f"{{{key}}}" if self._out[-1:] in (["^"], ["_"]) else key)
        key = key.casefold()
        words = _PLAIN_TEXT.findall(key)
        if "".join(words) != key or not all(word in KNOWN_WORDS for word in words if word.isalpha()):
            key = self._names.word(key)
        return self._emit(rf"\text{{{key}}}", True)

    def _accent(self, command: str) -> bool:
        pieces = self._take_argument()
        return self._emit(rf"\{command}{{{self._short_name(pieces)}}}", True)

    def _subscript(self) -> bool:
        self._out[-1] = self._out[-1].rstrip()
        pieces = self._take_argument()
        return self._emit(f"_{{{self._short_name(pieces)}}}", True)

    def _short_name(self, pieces: list[str]) -> str:
        layout = ("{", "}", *(f"\\{command}" for command in _TEXT))
        key = "".join(piece for piece in pieces if piece not in layout and not piece.isspace())
        # What is spelled like one of our words must not pass for it.
        return key if _NAME.fullmatch(key) and not _WORD.fullmatch(key) else self._names.word(key)

    def _environment(self, command: str) -> bool:
        pieces = self._take_argument()
        name = "".join(pieces)
        self._require(name in _ENVIRONMENTS, f"the environment {name}")
        self._emit(rf"\{command}{{{name}}}")
        if command == "begin" and name == "array":
            pieces = self._take_argument()
            columns = "".join(pieces)
            self._require(_COLUMNS.fullmatch(columns) is not None, "the columns of an array")
            self._emit(f"{{{columns}}}")
        return False


def _closing_braces(pieces: list[str]) -> dict[int, int]:
    """Return the position of the closing brace for that of each opening brace that is closed."""
    found: dict[int, int] = {}
    open_braces: list[int] = []
    for at, piece in enumerate(pieces):
        if piece == "{":
            open_braces.append(at)
        elif piece == "}" and open_braces:
            found[open_braces.pop()] = at
    return found
