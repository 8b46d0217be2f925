r"""Parser of expressions: a recursive descent over tokens, as a reader of LaTeX or Python would group them.

Theory of operation. Precedence from weak to strong: union and difference of sets; sums; products, also without a sign;
powers and postfix signs. `\sin 2x` takes the product 2x, and `\sin(x) y` only the parenthesis. Two adjacent numbers are
no product. The nesting is bounded, so that neither this parser nor any walk over its trees can exhaust the stack.
"""

from fractions import Fraction

from deepmath.grading.answer_nodes import Bracketed, Node, Number, Operation
from deepmath.grading.answer_tokens import UnreadableError
from deepmath.grading.bracket_parser import BracketParser
from deepmath.grading.latex_commands import (
    BINOMIALS,
    CONSTANTS,
    ELLIPSES,
    FRACTIONS,
    GREEK,
    LENGTHS,
    LETTER_FONTS,
    NUMBER_FONTS,
)
from deepmath.grading.node_building import is_fraction, product_of, quotient, signed, sum_of, with_unit

_SIGNS = {"+": "add", "-": "subtract", r"\pm": "plus_minus", r"\mp": "minus_plus"}
_PRODUCTS = {"*", "/", r"\cdot", r"\times", r"\div", r"\ast", r"\star", r"\bullet"}
_STARTING_COMMANDS = (
    FRACTIONS
    | BINOMIALS
    | CONSTANTS.keys()
    | LETTER_FONTS
    | NUMBER_FONTS
    | LENGTHS
    | {r"\lvert", r"\lVert", r"\lfloor", r"\lceil", r"\sum", r"\prod"}
)


class ExpressionParser(BracketParser):
    """Parser over the tokens of one text."""

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
        self.descend()
        terms: list[Node] = []
        if self.next_is(*_SIGNS):
            sign = _SIGNS[self.token.text]
            self.at += 1
            terms.append(signed(sign, self.product()))
        else:
            terms.append(self.product())
        while self.next_is(*_SIGNS):
            sign = _SIGNS[self.token.text]
            self.at += 1
            if self.next_is("+", "-") and self.tokens[self.at + 1].kind != "number" and not self.token.spaced:
                raise UnreadableError("two signs")
            if self.token.text in ELLIPSES or self.token.kind == "dots":
                raise UnreadableError("a sum with omitted terms")
            terms.append(signed(sign, self.product()))
        self.ascend()
        return sum_of(terms)

    def product(self) -> Node:
        """Parse factors joined by signs of multiplication and division, or by none."""
        left = self._factor()
        while True:
            if self.next_is(*_PRODUCTS):
                divides = self.token.text in ("/", r"\div")
                self.at += 1
                if self.token.text in ELLIPSES or self.token.kind == "dots":
                    raise UnreadableError("a product with omitted factors")
                right = self._factor()
                left = quotient(left, right) if divides else product_of(left, right)
            elif self._starts_factor(left):
                left = product_of(left, self._factor())
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
            return text in _STARTING_COMMANDS or text[1:] in GREEK
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
            self.descend()
            found = signed(sign, self._factor())
            self.ascend()
            return found
        return self._postfix(self._mixed_number(self._atom()))

    def _mixed_number(self, atom: Node) -> Node:
        r"""Join a whole number with the fraction after it: 3\frac12, 3 1/2."""
        if not isinstance(atom, Number) or atom.decimals is not None:
            return atom
        start = self.at
        if self.token.kind == "command" and self.token.text in FRACTIONS:
            fraction = self._atom()
            if is_fraction(fraction) and (not self.next_is("^") or self._degree_follows()):
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
                base = with_unit(base, self.token.text.casefold())
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
