r"""Parser of what stands in brackets: groups, tuples, sets and matrices, and of the LaTeX commands with arguments."""

from deepmath.grading.answer_nodes import Bracketed, Cases, Collection, Constant, Matrix, Name, Node, Operation
from deepmath.grading.answer_tokens import UnreadableError
from deepmath.grading.atom_parser import AtomParser
from deepmath.grading.latex_commands import BINOMIALS, CONSTANTS, FRACTIONS, GREEK, LENGTHS, LETTER_FONTS, NUMBER_FONTS
from deepmath.grading.matrix_algebra import determinant
from deepmath.grading.node_building import as_matrix, quotient

_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "]": ("[", "]")}
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix smallmatrix array".split())
_DETERMINANTS = frozenset("vmatrix Vmatrix".split())


class BracketParser(AtomParser):
    """Parser of brackets and commands."""

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
            return as_matrix(Bracketed("[", "]", tuple(items)))
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
            inner = quotient(inner, self.sum())
        self.require("}")
        return inner

    def _command(self, command: str) -> Node:
        if command in FRACTIONS:
            return quotient(self._digit_argument(), self._digit_argument())
        if command in BINOMIALS:
            return Operation("binomial", (self._digit_argument(), self._digit_argument()))
        if command in CONSTANTS:
            return Constant(CONSTANTS[command])
        if command[1:] in GREEK:
            return Name(command + self._subscript() + self._primes())
        if command == r"\{":
            return self._set()
        if command in (r"\lvert", r"\vert", r"\lVert", r"\Vert", r"\|"):
            return self._between(command, "abs")
        if command == r"\lfloor":
            return self._between(command, "floor")
        if command == r"\lceil":
            return self._between(command, "ceil")
        if command in NUMBER_FONTS:
            return self._number_set()
        if command in LETTER_FONTS or command in LENGTHS:
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
