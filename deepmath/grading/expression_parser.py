r"""Parser of expressions: a recursive descent over tokens, as a reader of LaTeX or Python would group them.

Theory of operation. Precedence from weak to strong: union and difference of sets; sums; products, also without a sign;
powers and postfix signs. `\sin 2x` takes the product 2x, and `\sin(x) y` only the parenthesis. Two adjacent numbers are
no product. The nesting is bounded, so that neither this parser nor any walk over its trees can exhaust the stack.
"""

from fractions import Fraction

from deepmath.grading.answer_nodes import (
    Application,
    Bracketed,
    Cases,
    Chain,
    Collection,
    Constant,
    Ellipsis,
    Listing,
    Matrix,
    Name,
    Node,
    Number,
    Operation,
    Quantity,
)
from deepmath.grading.answer_tokens import Token, UnreadableError, tokenize
from deepmath.grading.matrix_algebra import add_matrices, determinant, multiply_matrices
from deepmath.grading.measured_quantity import NOT_UNIT

_DEEPEST = 40
_LONGEST_NUMBER = 1000  # digits
_LARGEST_EXPONENT = 5000
# Letters that stand for functions wherever a parenthesis follows.
_UNKNOWN_FUNCTIONS = frozenset("fghFGH")
_FRACTIONS = frozenset({r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"})
_BINOMIALS = frozenset({r"\binom", r"\dbinom", r"\tbinom"})
_GREEK = frozenset(
    """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron rho varrho sigma
    varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar
    """.split()
)
_CONSTANTS = {
    r"\pi": "pi",
    r"\infty": "infinity",
    r"\infin": "infinity",
    r"\emptyset": "empty",
    r"\varnothing": "empty",
    r"\imath": "i",
    r"\R": "R",
    r"\Z": "Z",
    r"\N": "N",
    r"\Q": "Q",
    r"\C": "C",
    r"\reals": "R",
}
_LETTER_FONTS = frozenset({r"\mathcal", r"\mathscr", r"\mathfrak", r"\vec", r"\hat", r"\tilde", r"\overrightarrow"})
_NUMBER_FONTS = frozenset({r"\mathbb", r"\Bbb"})
_LENGTHS = frozenset({r"\angle", r"\triangle", r"\measuredangle", r"\widehat", r"\overline", r"\overarc", r"\bar"})
_ELLIPSES = frozenset({r"\ldots", r"\dots", r"\cdots", r"\dotsc", r"\dotsb", r"\vdots", r"\ddots"})
_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "]": ("[", "]")}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_SIGNS = {"+": "add", "-": "subtract", r"\pm": "plus_minus", r"\mp": "minus_plus"}
_PRODUCTS = {"*", "/", r"\cdot", r"\times", r"\div", r"\ast", r"\star", r"\bullet"}
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix smallmatrix array".split())
_DETERMINANTS = frozenset("vmatrix Vmatrix".split())


class ExpressionParser:
    """Parser over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.tokens = tokenize(text)
        self.at = 0
        self._depth = 0
        self._bars = 0

    # Tokens

    @property
    def token(self) -> Token:
        """The next token."""
        return self.tokens[self.at]

    def next_is(self, *texts: str) -> bool:
        """Return whether the next token is a symbol or command of `texts`."""
        return self.token.kind in ("symbol", "command") and self.token.text in texts

    def take(self, *texts: str) -> bool:
        """Skip the next token if it is one of `texts`; return whether it was."""
        if self.next_is(*texts):
            self.at += 1
            return True
        return False

    def require(self, *texts: str) -> None:
        """Skip one of `texts`.

        Raises:
            UnreadableError: The next token is another one.
        """
        if not self.take(*texts):
            raise UnreadableError(f"expected {texts[0]}")

    # Operators

    def set_expression(self) -> Node:
        """Parse sets joined by union, intersection and difference, or a sum."""
        left = self.sum()
        while self.next_is(r"\cup", r"\cap", r"\setminus", r"\backslash", r"\bigcup") or self._is_union_letter():
            operator = {r"\cap": "intersection", r"\setminus": "difference", r"\backslash": "difference"}.get(
                self.token.text, "union"
            )
            self.at += 1
            left = Operation(operator, (left, self.sum()))
        return left

    def _is_union_letter(self) -> bool:
        """Return whether an U joins two intervals, as in (0,1) U (2,3)."""
        if self.token[:2] != ("name", "U"):
            return False
        return self.tokens[self.at - 1].text in (")", "]", r"\}") and self.tokens[self.at + 1].text in ("(", "[", r"\{")

    def sum(self) -> Node:
        """Parse terms joined by plus and minus."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableError("too deeply nested")
        terms: list[Node] = []
        if self.next_is(*_SIGNS):
            sign = _SIGNS[self.token.text]
            self.at += 1
            terms.append(_signed(sign, self.product()))
        else:
            terms.append(self.product())
        while self.next_is(*_SIGNS):
            sign = _SIGNS[self.token.text]
            self.at += 1
            if self.next_is("+", "-") and self.tokens[self.at + 1].kind != "number" and not self.token.spaced:
                raise UnreadableError("two signs")
            if self.token.text in _ELLIPSES or self.token.kind == "dots":
                raise UnreadableError("a sum with omitted terms")
            terms.append(_signed(sign, self.product()))
        self._depth -= 1
        return _sum_of(terms)

    def product(self) -> Node:
        """Parse factors joined by signs of multiplication and division, or by none."""
        left = self._factor()
        while True:
            if self.next_is(*_PRODUCTS):
                divides = self.token.text in ("/", r"\div")
                self.at += 1
                if self.token.text in _ELLIPSES or self.token.kind == "dots":
                    raise UnreadableError("a product with omitted factors")
                right = self._factor()
                left = _quotient(left, right) if divides else _product_of(left, right)
            elif self._starts_factor(left):
                left = _product_of(left, self._factor())
            else:
                return left

    def _starts_factor(self, left: Node) -> bool:
        """Return whether the next token continues a product without a sign."""
        kind, text, _ = self.token
        if kind == "number":
            if self.tokens[self.at - 1].kind == "number" or self._follows_letter():
                raise UnreadableError("a number after a number or a letter")
            return not isinstance(left, Number)
        if kind == "symbol":
            if text == "|":
                return self._bars == 0
            if text == "[" and isinstance(left, Bracketed):
                return False
            return text in ("(", "{", "[")
        if kind == "command":
            return text in _STARTING_COMMANDS or text[1:] in _GREEK
        return kind in ("name", "constant", "function", "begin") and not self._is_union_letter()

    def _follows_letter(self) -> bool:
        """Return whether the next token adjoins a letter that is no exponent, as in x2."""
        is_exponent = self.at > 1 and self.tokens[self.at - 2].text in ("^", "_")
        return self.tokens[self.at - 1].kind == "name" and not self.token.spaced and not is_exponent

    def _factor(self) -> Node:
        """Parse a signed factor with its exponent and postfix signs."""
        if self.next_is("+", "-", r"\pm", r"\mp"):
            sign = _SIGNS[self.token.text]
            self.at += 1
            self._depth += 1
            if self._depth > _DEEPEST:
                raise UnreadableError("too deeply nested")
            found = _signed(sign, self._factor())
            self._depth -= 1
            return found
        return self._postfix(self._mixed_number(self._atom()))

    def _mixed_number(self, atom: Node) -> Node:
        r"""Join a whole number with the fraction after it: 3\frac12, 3 1/2."""
        if not isinstance(atom, Number) or atom.decimals is not None:
            return atom
        start = self.at
        if self.token.kind == "command" and self.token.text in _FRACTIONS:
            fraction = self._atom()
            if _is_fraction(fraction) and (not self.next_is("^") or self._degree_follows()):
                return Operation("add", (atom, fraction))
            self.at = start
        elif [token.kind for token in self.tokens[start : start + 3 : 2]] == ["number"] * 2 and self.token.spaced:
            numerator, slash, denominator = self.tokens[start : start + 3]
            if slash.text == "/" and (numerator.text + denominator.text).isdigit() and int(denominator.text):
                self.at += 3
                return Operation("add", (atom, Number(Fraction(int(numerator.text), int(denominator.text)))))
        return atom

    def _degree_follows(self) -> bool:
        return r"\circ" in [token.text for token in self.tokens[self.at + 1 : self.at + 3]]

    def _postfix(self, base: Node) -> Node:
        while True:
            if self.next_is("^"):
                base = self._power(base)
            elif self.take("!"):
                base = Operation("double_factorial" if self.take("!") else "factorial", (base,))
            elif self.take(r"\%", "%"):
                base = Operation("percent", (base,))
            elif self.next_is(r"\circ", r"\degree"):
                self.at += 1
                base = Operation("degree", (base,))
            elif self.next_is("_") and isinstance(base, Bracketed | Number | Operation):
                raise UnreadableError("a subscript of no name")
            elif self.token.kind == "text":
                base = _with_unit(base, self.token.text.casefold())
                self.at += 1
            else:
                return base

    def _power(self, base: Node) -> Node:
        self.require("^")
        if self.next_is(r"\circ", r"\degree"):
            self.at += 1
            return Operation("degree", (base,))
        if self.take("{"):
            if self.take(r"\circ"):
                self.require("}")
                return Operation("degree", (base,))
            if self.next_is("T", r"\top", r"\prime"):
                raise UnreadableError("a transpose")
            exponent = self.sum()
            self.require("}")
        else:
            exponent = self._short_exponent()
        return Operation("power", (base, exponent))

    def _short_exponent(self) -> Node:
        """Parse an exponent without braces; powers group to the right, as in Python."""
        if self.next_is("+", "-"):
            sign = self.token.text
            self.at += 1
            exponent = self._short_exponent()
            return exponent if sign == "+" else _negative(exponent)
        atom = self._atom()
        if self.next_is("^") or self.next_is("!"):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise UnreadableError("too deeply nested")
            atom = self._postfix(atom) if self.next_is("!") else self._power(atom)
            self._depth -= 1
        return atom

    # Atoms

    def _atom(self) -> Node:
        kind, text, _ = self.token
        self.at += 1
        if kind == "number":
            return self._number(text)
        if kind == "name":
            return self._name(text)
        if kind == "constant":
            return Constant(text)
        if kind == "function":
            return self._function(text)
        if kind == "container":
            return self._container(text)
        if kind == "begin":
            return self._environment(text)
        if kind == "dots" or (kind == "command" and text in _ELLIPSES):
            return Ellipsis()
        if kind == "symbol":
            return self._enclosed(text)
        if kind == "command":
            return self._command(text)
        raise UnreadableError(f"an unexpected {text!r}")

    def _number(self, text: str) -> Node:
        if len(text) > _LONGEST_NUMBER:
            raise UnreadableError("a number with too many digits")
        if self.token.text in (r"\overline", r"\bar", r"\dot") and "." in text and "e" not in text.lower():
            return self._repeating(text)
        if (self.token.text in _ELLIPSES or self.token.kind == "dots") and (value := _recurring(text)) is not None:
            self.at += 1
            return Number(value)
        mantissa, _, exponent = text.lower().partition("e")
        if exponent and abs(int(exponent)) > _LARGEST_EXPONENT:
            raise UnreadableError("a number with too large an exponent")
        whole, point, decimals = mantissa.partition(".")
        value = Fraction(int((whole + decimals) or "0"), 10 ** len(decimals)) * Fraction(10) ** int(exponent or 0)
        if not point or not decimals:
            return Number(value)
        digits = (whole + decimals).lstrip("0")
        return Number(value, max(len(decimals) - int(exponent or 0), 0), len(digits))

    def _repeating(self, text: str) -> Node:
        r"""Parse 0.1\overline{6}."""
        self.at += 1
        braces = self.take("{")
        period = self.token.text
        if self.token.kind != "number" or not period.isdigit() or len(period) > 100:
            raise UnreadableError("a period that is no number")
        self.at += 1
        if braces:
            self.require("}")
        whole, _, head = text.partition(".")
        value = Fraction(int((whole + head) or "0"), 10 ** len(head))
        return Number(value + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(head)))

    def _name(self, text: str) -> Node:
        if text in ("e", "i") and not self.next_is("_", "'"):
            return Constant(text)
        name = text + self._subscript() + self._primes()
        if self._is_application(name):
            return self._application(name)
        return Name(name)

    def _primes(self) -> str:
        primes = ""
        while self.take("'"):
            primes += "'"
        if self.next_is("^") and self.tokens[self.at + 1].text == r"\prime":
            self.at += 2
            primes += "'"
        return primes

    def _subscript(self) -> str:
        """Return the subscript of a name in a canonical spelling, with the underscore, or nothing."""
        if not self.take("_"):
            return ""
        if not self.take("{"):
            kind, text, _ = self.token
            self.at += 1
            if kind not in ("number", "name", "constant", "command", "text"):
                raise UnreadableError("an unexpected subscript")
            return f"_{text}"
        depth, parts = 1, []
        while depth:
            kind, text, _ = self.token
            if kind == "stop":
                raise UnreadableError("an unclosed brace")
            self.at += 1
            depth += (text == "{") - (text == "}") if kind == "symbol" else 0
            if text not in ("{", "}"):
                parts.append(text)
        return f"_{''.join(parts)}"

    def _is_application(self, name: str) -> bool:
        r"""Return whether arguments follow: always after f, after other letters only in `P(x) =`."""
        at = self.at
        if [token.text for token in self.tokens[at : at + 5]] == ["^", "{", "-", "1", "}"]:
            at += 5
        if self.tokens[at].text != "(" or self.tokens[at].kind != "symbol":
            return False
        if name[0] in _UNKNOWN_FUNCTIONS:
            return True
        end = at + 1
        while self.tokens[end].kind in ("name", "number") or self.tokens[end].text == ",":
            end += 1
        return self.tokens[end].text == ")" and self.tokens[end + 1][:2] == ("relation", "=") and at > 0

    def _application(self, name: str) -> Node:
        if self.next_is("^"):
            self.at += 5
            name += "^-1"
        self.require("(")
        arguments = [self.sum()]
        while self.take(","):
            arguments.append(self.sum())
        self.require(")")
        return Application(name, tuple(arguments))

    def _function(self, name: str) -> Node:
        """Parse a function with its exponent or base, and its argument."""
        power: Node | None = None
        base: Node | None = None
        for _ in range(2):
            if self.next_is("^"):
                self.at += 1
                power = self._argument()
            elif self.next_is("_"):
                self.at += 1
                base = self._log_base() if name in ("log", "lg", "ln") else self._fail("a subscript of a function")
        degree = self._root_degree() if name == "sqrt" else None
        arguments = self._function_arguments(name)
        _check_arguments(name, arguments)
        if name in ("sqrt", "cbrt") and len(arguments) == 1:
            found: Node = Operation("root", (arguments[0], degree or Number(Fraction(2 if name == "sqrt" else 3))))
        elif name == "log" and len(arguments) == 2:
            found = Operation("log", tuple(arguments))
        elif base is not None:
            found = Operation("log", (arguments[0], base))
        elif name == "rational":
            found = _quotient(*arguments) if len(arguments) == 2 else arguments[0]
        elif name == "det":
            if not isinstance(arguments[0], Matrix):
                raise UnreadableError("the determinant of no matrix")
            found = determinant(arguments[0].rows)
        elif name == "cis":
            found = Operation(
                "add",
                (Operation("cos", (arguments[0],)), _product_of(Constant("i"), Operation("sin", (arguments[0],)))),
            )
        elif name == "lg":
            found = Operation("log", (arguments[0], Number(Fraction(10))))
        else:
            found = Operation(name, tuple(arguments))
        if power is None:
            return found
        if power == Operation("negate", (Number(Fraction(1)),)) and name in _INVERSES:
            return Operation(f"arc{name}", tuple(arguments))
        return Operation("power", (found, power))

    def _fail(self, reason: str) -> Node:
        raise UnreadableError(reason)

    def _log_base(self) -> Node:
        r"""Parse the base of \log_2 8; without braces it is one digit."""
        kind, text, spaced = self.token
        if kind == "number" and len(text) > 1 and text.isdigit():
            self.tokens[self.at] = Token("number", text[1:], spaced)
            return Number(Fraction(int(text[0])))
        return self._argument()

    def _root_degree(self) -> Node | None:
        if not self.take("["):
            return None
        degree = self.sum()
        self.require("]")
        return degree

    def _function_arguments(self, name: str) -> list[Node]:
        if self.next_is("("):
            self.at += 1
            arguments = [self.set_expression()]
            while self.take(","):
                arguments.append(self.set_expression())
            self.require(")")
            return arguments
        if name in ("sqrt", "cbrt"):
            return [self._argument()]
        if self.next_is("{"):
            self.at += 1
            arguments = [self.sum()]
            while self.take(","):
                arguments.append(self.sum())
            self.require("}")
            return arguments
        factors = [self._factor()]
        while self.token.kind not in ("function", "begin") and self._starts_factor(factors[-1]):
            factors.append(self._factor())
        found = factors[0]
        for factor in factors[1:]:
            found = _product_of(found, factor)
        return [found]

    def _container(self, name: str) -> Node:
        self.require("(")
        arguments = [] if self.next_is(")") else self._elements()
        self.require(")")
        if name == "Matrix" and len(arguments) == 1:
            return _as_matrix(arguments[0])
        if name == "FiniteSet":
            return Collection(tuple(arguments))
        if name == "Interval" and len(arguments) == 2:
            return Bracketed("[", "]", tuple(arguments))
        if name == "Union" and arguments:
            found = arguments[0]
            for argument in arguments[1:]:
                found = Operation("union", (found, argument))
            return found
        if name == "Eq" and len(arguments) == 2:
            return Chain(tuple(arguments), ("=",))
        if name == "Tuple" and len(arguments) > 1:
            return Bracketed("(", ")", tuple(arguments))
        raise UnreadableError(f"an unexpected {name}")

    def _elements(self) -> list[Node]:
        """Parse what stands between brackets."""
        found = [self.element()]
        while self.take(",", ";"):
            if self.next_is(")", "]", r"\}", "}"):  # a trailing comma, as in (1,)
                break
            found.append(self.element())
        return found

    def element(self) -> Node:
        """Parse an element of a list in brackets."""
        return self.set_expression()

    def _enclosed(self, opening: str) -> Node:
        if opening == "{":
            return self._braces()
        if opening == "|":
            self._bars += 1
            inner = self.sum()
            self._bars -= 1
            self.require("|")
            return Operation("abs", (inner,))
        if opening == "'" or opening == '"':
            return self._quoted(opening)
        if opening not in _CLOSERS:
            raise UnreadableError(f"an unexpected {opening!r}")
        bars, self._bars = self._bars, 0
        if self.take(*_CLOSERS[opening]):
            raise UnreadableError("empty brackets")
        items = self._elements()
        closing = self.token.text
        self.require(*_CLOSERS[opening])
        self._bars = bars
        if len(items) == 1:
            return items[0]
        if opening == "[" and all(isinstance(item, Bracketed) and item.opening == "[" for item in items):
            return _as_matrix(Bracketed("[", "]", tuple(items)))
        opening, closing = {"]": "("}.get(opening, opening), {"[": ")"}.get(closing, closing)
        return Bracketed(opening, closing, tuple(items))

    def _quoted(self, mark: str) -> Node:
        inner = self.element()
        self.require(mark)
        return inner

    def _braces(self) -> Node:
        """Parse the inside of braces, which group invisibly."""
        if self.take("}"):
            raise UnreadableError("empty braces")
        inner = self.set_expression()
        if self.take(r"\choose"):
            inner = Operation("binomial", (inner, self.sum()))
        elif self.take(r"\over"):
            inner = _quotient(inner, self.sum())
        self.require("}")
        return inner

    def _argument(self) -> Node:
        """Parse the argument of a command: braces, or one token of which a number gives one digit."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableError("too deeply nested")
        if self.take("{"):
            found = self._braces()
        elif self.next_is("-", "+"):
            found = self._short_exponent()
        else:
            found = self._atom()
        self._depth -= 1
        return found

    def _digit_argument(self) -> Node:
        r"""Parse an argument of \frac, where \frac12 is a half."""
        kind, text, spaced = self.token
        if kind == "number" and len(text) > 1 and text.isdigit():
            self.tokens[self.at] = Token("number", text[1:], spaced)
            return Number(Fraction(int(text[0])))
        return self._argument()

    def _command(self, command: str) -> Node:
        if command in _FRACTIONS:
            return _quotient(self._digit_argument(), self._digit_argument())
        if command in _BINOMIALS:
            return Operation("binomial", (self._digit_argument(), self._digit_argument()))
        if command in _CONSTANTS:
            return Constant(_CONSTANTS[command])
        if command[1:] in _GREEK:
            return Name(command + self._subscript() + self._primes())
        if command == r"\{":
            return self._set()
        if command in (r"\lvert", r"\vert", r"\lVert", r"\Vert", r"\|"):
            return self._between(command, "abs")
        if command == r"\lfloor":
            return self._between(command, "floor")
        if command == r"\lceil":
            return self._between(command, "ceil")
        if command in _NUMBER_FONTS:
            return self._number_set()
        if command in _LETTER_FONTS or command in _LENGTHS:
            return self._figure(command)
        if command in (r"\sum", r"\prod"):
            return self._series(command[1:])
        raise UnreadableError(f"the command {command}")

    def _between(self, opening: str, operator: str) -> Node:
        closing = {
            r"\lvert": r"\rvert", r"\vert": r"\vert", r"\lVert": r"\rVert", r"\Vert": r"\Vert", r"\|": r"\|",
            r"\lfloor": r"\rfloor", r"\lceil": r"\rceil",
        }[opening]  # fmt: skip
        bars, self._bars = self._bars, 0
        inner = self.sum()
        self._bars = bars
        self.require(closing)
        return Operation(operator, (inner,))

    def _number_set(self) -> Node:
        r"""Parse \mathbb{R}, \mathbb{Z}^+ and the like."""
        braces = self.take("{")
        letter = self.token.text
        if letter not in ("R", "Z", "N", "Q", "C"):
            raise UnreadableError("an unknown set of numbers")
        self.at += 1
        if braces:
            self.require("}")
        return Constant(letter + self._set_sign())

    def _set_sign(self) -> str:
        found = ""
        while self.next_is("^", "_"):
            self.at += 1
            braces = self.take("{")
            while self.token.kind in ("symbol", "number", "relation", "command") and self.token.text != "}":
                if self.token.text not in ("+", "-", "0", ">", ">=", "*", r"\ast", r"\geqslant", r"\times"):
                    raise UnreadableError("an unknown set of numbers")
                found += {r"\ast": "*", r"\times": "*"}.get(self.token.text, self.token.text)
                self.at += 1
                if not braces:
                    break
            if braces:
                self.require("}")
        return found

    def _figure(self, command: str) -> Node:
        r"""Parse a name with letters or a mark above: \vec{v}, \overline{AB}, \angle ABC."""
        letters = ""
        braces = self.take("{")
        while self.token.kind == "name":
            letters += self.token.text
            self.at += 1
            if not braces and command not in (r"\angle", r"\triangle", r"\measuredangle"):
                break
        if braces:
            self.require("}")
        if not letters:
            raise UnreadableError(f"{command} without letters")
        mark = r"\angle" if command == r"\measuredangle" else command
        return Name(f"{mark} {letters}" + self._subscript())

    def _series(self, operator: str) -> Node:
        r"""Parse \sum_{k=1}^{n} a_k."""
        start = stop = index = None
        for _ in range(2):
            if self.take("_"):
                self.require("{")
                index = self._atom()
                if self.token.kind != "relation" or self.token.text != "=" or not isinstance(index, Name | Constant):
                    raise UnreadableError("an unknown range")
                self.at += 1
                start = self.sum()
                self.require("}")
            elif self.take("^"):
                stop = self._argument()
        if index is None or start is None or stop is None:
            raise UnreadableError("a sum without a range")
        return Operation(operator, (index, start, stop, self.product()))

    def _set(self) -> Node:
        """Parse the elements of a set after its opening brace."""
        if self.take(r"\}"):
            return Constant("empty")
        bars, self._bars = self._bars, 0
        items = self._elements()
        self._bars = bars
        self.require(r"\}")
        return Collection(tuple(items))

    def _environment(self, name: str) -> Node:
        if name == "array" and self.take("{"):
            while not self.take("}"):
                if self.token.kind == "stop":
                    raise UnreadableError("an unclosed brace")
                self.at += 1
        rows = self._rows(name)
        if name == "cases":
            return Cases(rows)
        if name not in _MATRICES | _DETERMINANTS or len({len(row) for row in rows}) != 1:
            raise UnreadableError(f"the environment {name}")
        return determinant(rows) if name in _DETERMINANTS else Matrix(rows)

    def _rows(self, name: str) -> tuple[tuple[Node, ...], ...]:
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            if self.token.kind == "end" and self.token.text == name:
                self.at += 1
                return tuple([*rows, tuple(row)] if row else rows)
            row.append(self.cell())
            if self.token[:2] == ("word", "and"):  # an ampersand
                self.at += 1
            elif self.take("\\\\"):
                rows.append(tuple(row))
                row = []
            elif self.token.kind != "end":
                raise UnreadableError("an unexpected token in a matrix")
            while self.take(r"\hline"):
                pass

    def cell(self) -> Node:
        """Parse a cell of a matrix."""
        return self.set_expression()


_STARTING_COMMANDS = (
    _FRACTIONS
    | _BINOMIALS
    | _CONSTANTS.keys()
    | _LETTER_FONTS
    | _NUMBER_FONTS
    | _LENGTHS
    | {r"\lvert", r"\lVert", r"\lfloor", r"\lceil", r"\sum", r"\prod"}
)
_ANY_NUMBER = frozenset({"max", "min", "gcd", "lcm"})
_INVERSES = frozenset("sin cos tan cot sec csc sinh cosh tanh".split())


def _with_unit(base: Node, text: str) -> Node:
    """Return a value with its unit, or multiplied by a number in words."""
    if text in _SCALES:
        return Operation("multiply", (base, Number(Fraction(_SCALES[text]))))
    if isinstance(base, Quantity) or NOT_UNIT.search(text):
        raise UnreadableError("words that are no unit")
    return Quantity(base, text)


def _check_arguments(name: str, arguments: list[Node]) -> None:
    """Check the number of arguments, and unpack those in braces, as in max{1, 2}."""
    if name in _ANY_NUMBER:
        if len(arguments) == 1 and isinstance(arguments[0], Collection):
            arguments[:] = arguments[0].items
        return
    expected = {"log": (1, 2), "binomial": (2,), "root": (2,), "rational": (1, 2)}.get(name, (1,))
    if len(arguments) not in expected:
        raise UnreadableError(f"a wrong number of arguments of {name}")


def _signed(sign: str, node: Node) -> Node:
    if sign == "add":
        return node
    return _negative(node) if sign == "subtract" else Operation(sign, (node,))


def _negative(node: Node) -> Node:
    if isinstance(node, Matrix):
        return Matrix(tuple(tuple(map(_negative, row)) for row in node.rows))
    return Operation("negate", (node,))


def _sum_of(terms: list[Node]) -> Node:
    if len(terms) == 1:
        return terms[0]
    if all(isinstance(term, Matrix) for term in terms):
        return add_matrices([term for term in terms if isinstance(term, Matrix)])
    return Operation("add", tuple(terms))


def _product_of(left: Node, right: Node) -> Node:
    if isinstance(left, Matrix) or isinstance(right, Matrix):
        return multiply_matrices(left, right)
    if isinstance(left, Operation) and left.operator == "multiply":
        return Operation("multiply", (*left.operands, right))
    return Operation("multiply", (left, right))


def _quotient(left: Node, right: Node) -> Node:
    if isinstance(left, Matrix):
        return multiply_matrices(Operation("divide", (Number(Fraction(1)), right)), left)
    return Operation("divide", (left, right))


def _is_fraction(node: Node) -> bool:
    """Return whether `node` is a quotient of two natural numbers as written."""
    return (
        isinstance(node, Operation)
        and node.operator == "divide"
        and all(isinstance(part, Number) and part.value.denominator == 1 for part in node.operands)
    )


def _as_matrix(node: Node) -> Node:
    """Return the matrix of nested lists. A flat list is a column."""
    if isinstance(node, Matrix):
        return node
    if not isinstance(node, Bracketed):
        return Matrix(((node,),))
    rows = [item.items if isinstance(item, Bracketed) else (item,) for item in node.items]
    if len({len(row) for row in rows}) != 1:
        raise UnreadableError("rows of different lengths")
    return Matrix(tuple(rows))


def _recurring(text: str) -> Fraction | None:
    """Return the value of a decimal number whose last digits recur at least three times: 0.333 before dots."""
    whole, point, decimals = text.partition(".")
    if not point or not decimals.isdigit():
        return None
    for period in range(1, len(decimals) // 3 + 1):
        block = decimals[-period:]
        if decimals.endswith(block * 3):
            head = decimals.removesuffix(block * (len(decimals) // period))
            while head.endswith(block):
                head = head.removesuffix(block)
            value = Fraction(int((whole + head) or "0"), 10 ** len(head))
            return value + Fraction(int(block), (10**period - 1) * 10 ** len(head))
    return None
