r"""Parser of the smallest parts of expressions: numbers, names, functions and the arguments of commands."""

from fractions import Fraction

from deepmath.grading.answer_nodes import (
    Application,
    Bracketed,
    Chain,
    Collection,
    Constant,
    Ellipsis,
    Matrix,
    Name,
    Node,
    Number,
    Operation,
)
from deepmath.grading.answer_tokens import Token, UnreadableError
from deepmath.grading.latex_commands import ELLIPSES
from deepmath.grading.matrix_algebra import determinant
from deepmath.grading.node_building import as_matrix, check_arguments, negative, product_of, quotient, recurring
from deepmath.grading.token_cursor import TokenCursor

_LONGEST_NUMBER = 1000  # digits
_LARGEST_EXPONENT = 5000
_UNKNOWN_FUNCTIONS = frozenset("fghFGH")
_INVERSES = frozenset("sin cos tan cot sec csc sinh cosh tanh".split())


class AtomParser(TokenCursor):
    """Parser of atoms, for a subclass that joins them."""

    def set_expression(self) -> Node:
        """Parse sets joined by union, intersection and difference, or a sum."""
        raise NotImplementedError

    def sum(self) -> Node:
        """Parse terms joined by plus and minus."""
        raise NotImplementedError

    def product(self) -> Node:
        """Parse factors joined by signs of multiplication and division, or by none."""
        raise NotImplementedError

    def element(self) -> Node:
        """Parse an element of a list in brackets."""
        return self.set_expression()

    def _factor(self) -> Node:
        raise NotImplementedError

    def _starts_factor(self, left: Node) -> bool:
        raise NotImplementedError

    def _power(self, base: Node) -> Node:
        raise NotImplementedError

    def _postfix(self, base: Node) -> Node:
        raise NotImplementedError

    def _command(self, command: str) -> Node:
        raise NotImplementedError

    def _enclosed(self, opening: str) -> Node:
        raise NotImplementedError

    def _environment(self, name: str) -> Node:
        raise NotImplementedError

    def _braces(self) -> Node:
        raise NotImplementedError

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
        if kind == "dots" or (kind == "command" and text in ELLIPSES):
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
        if (self.token.text in ELLIPSES or self.token.kind == "dots") and (value := recurring(text)) is not None:
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
        check_arguments(name, arguments)
        if name in ("sqrt", "cbrt") and len(arguments) == 1:
            found: Node = Operation("root", (arguments[0], degree or Number(Fraction(2 if name == "sqrt" else 3))))
        elif name == "log" and len(arguments) == 2:
            found = Operation("log", tuple(arguments))
        elif base is not None:
            found = Operation("log", (arguments[0], base))
        elif name == "rational":
            found = quotient(*arguments) if len(arguments) == 2 else arguments[0]
        elif name == "det":
            if not isinstance(arguments[0], Matrix):
                raise UnreadableError("the determinant of no matrix")
            found = determinant(arguments[0].rows)
        elif name == "cis":
            found = Operation(
                "add",
                (Operation("cos", (arguments[0],)), product_of(Constant("i"), Operation("sin", (arguments[0],)))),
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
            found = product_of(found, factor)
        return [found]

    def _container(self, name: str) -> Node:
        self.require("(")
        arguments = [] if self.next_is(")") else self._elements()
        self.require(")")
        if name == "Matrix" and len(arguments) == 1:
            return as_matrix(arguments[0])
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

    def _argument(self) -> Node:
        """Parse the argument of a command: braces, or one token of which a number gives one digit."""
        self.descend()
        if self.take("{"):
            found = self._braces()
        elif self.next_is("-", "+"):
            found = self._short_exponent()
        else:
            found = self._atom()
        self.ascend()
        return found

    def _digit_argument(self) -> Node:
        r"""Parse an argument of \frac, where \frac12 is a half."""
        kind, text, spaced = self.token
        if kind == "number" and len(text) > 1 and text.isdigit():
            self.tokens[self.at] = Token("number", text[1:], spaced)
            return Number(Fraction(int(text[0])))
        return self._argument()

    def _short_exponent(self) -> Node:
        """Parse an exponent without braces; powers group to the right, as in Python."""
        if self.next_is("+", "-"):
            sign = self.token.text
            self.at += 1
            exponent = self._short_exponent()
            return exponent if sign == "+" else negative(exponent)
        atom = self._atom()
        if self.next_is("^") or self.next_is("!"):
            self.descend()
            atom = self._postfix(atom) if self.next_is("!") else self._power(atom)
            self.ascend()
        return atom
