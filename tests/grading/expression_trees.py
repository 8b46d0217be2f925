"""Random expressions as trees, written in several styles, and evaluated independently of the grader."""

# ruff: noqa: RUF001 -- look-alike characters are what one style is about

import cmath
import math
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st


@dataclass(frozen=True)
class Tree:
    """An operation on trees, a number or a name."""

    kind: str
    parts: "tuple[Tree, ...]" = ()
    value: int = 0
    name: str = ""

    def __repr__(self) -> str:
        return self.python()

    def latex(self) -> str:
        """Return LaTeX as a dataset writes it: fractions, juxtaposition, braces."""
        match self.kind:
            case "number":
                return str(self.value)
            case "name":
                return {"pi": r"\pi"}.get(self.name, self.name)
            case "add":
                return f"{self.parts[0].latex()}+{_wrapped(self.parts[1], 'latex', 'add', 'subtract')}"
            case "subtract":
                return f"{self.parts[0].latex()}-{_wrapped(self.parts[1], 'latex', 'add', 'subtract')}"
            case "multiply":
                left, right = (_wrapped(part, "latex", "add", "subtract") for part in self.parts)
                return rf"{left}\cdot {right}" if right[0].isdigit() or right[0] == "-" else f"{left} {right}"
            case "divide":
                return rf"\frac{{{self.parts[0].latex()}}}{{{self.parts[1].latex()}}}"
            case "power":
                return rf"\left({self.parts[0].latex()}\right)^{{{self.value}}}"
            case _:
                return rf"\sqrt{{{self.parts[0].latex()}}}"

    def python(self) -> str:
        """Return Python as sympy prints it."""
        match self.kind:
            case "number":
                return str(self.value)
            case "name":
                return self.name
            case "add" | "subtract" | "multiply" | "divide":
                sign = {"add": " + ", "subtract": " - ", "multiply": "*", "divide": "/"}[self.kind]
                return sign.join(f"({part.python()})" if part.parts else part.python() for part in self.parts)
            case "power":
                return f"({self.parts[0].python()})**{self.value}"
            case _:
                return f"sqrt({self.parts[0].python()})"

    def unicode(self) -> str:
        """Return Unicode as a chat model writes it."""
        match self.kind:
            case "number":
                return str(self.value).replace("-", "−")
            case "name":
                return {"pi": "π"}.get(self.name, self.name)
            case "add" | "subtract" | "multiply" | "divide":
                sign = {"add": " + ", "subtract": " − ", "multiply": " × ", "divide": " ÷ "}[self.kind]
                return sign.join(f"({part.unicode()})" if part.parts else part.unicode() for part in self.parts)
            case "power":
                return (
                    f"({self.parts[0].unicode()}){str(self.value).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
                )
            case _:
                return f"√({self.parts[0].unicode()})"

    def commuted(self) -> "Tree":
        """Return an equal tree with the operands of sums and products exchanged."""
        parts = tuple(part.commuted() for part in self.parts)
        return Tree(self.kind, parts[::-1] if self.kind in ("add", "multiply") else parts, self.value, self.name)

    def evaluate(self, point: dict[str, complex]) -> complex:
        """Return the value in floating point."""
        values = [part.evaluate(point) for part in self.parts]
        match self.kind:
            case "number":
                return complex(self.value)
            case "name":
                return complex(math.pi) if self.name == "pi" else point[self.name]
            case "add":
                return values[0] + values[1]
            case "subtract":
                return values[0] - values[1]
            case "multiply":
                return values[0] * values[1]
            case "divide":
                return values[0] / values[1]
            case "power":
                return complex(values[0] ** self.value)
            case _:
                return cmath.sqrt(values[0])


def _wrapped(tree: Tree, style: str, *kinds: str) -> str:
    text = str(getattr(tree, style)())
    return rf"\left({text}\right)" if tree.kind in kinds or text.startswith("-") else text


def names_of(tree: Tree) -> set[str]:
    """Return the names in a tree."""
    return {tree.name} - {"", "pi"} | {name for part in tree.parts for name in names_of(part)}


def trees(max_leaves: int = 8, with_roots: bool = True, with_names: bool = True) -> st.SearchStrategy[Tree]:
    """Generate trees."""
    leaves = st.integers(1, 12).map(lambda value: Tree("number", value=value))
    constants = ["pi"] * with_roots + ["x", "y"] * with_names
    if constants:
        leaves |= st.sampled_from(constants).map(lambda name: Tree("name", name=name))

    def extend(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        binary = st.builds(
            lambda kind, one, two: Tree(kind, (one, two)),
            st.sampled_from(["add", "subtract", "multiply", "divide"]),
            inner,
            inner,
        )
        power = st.builds(lambda one, value: Tree("power", (one,), value), inner, st.integers(2, 4))
        root = inner.map(lambda one: Tree("root", (one,)))
        return binary | power | root if with_roots else binary | power

    return st.recursive(leaves, extend, max_leaves=max_leaves)


def changed(tree: Tree, at: int) -> Tree:
    """Return `tree` with its number or exponent at index `at` larger by one."""
    return _changed(tree, [at])


def _changed(tree: Tree, left: list[int]) -> Tree:
    if tree.kind in ("number", "power"):
        left[0] -= 1
    here = tree.kind in ("number", "power") and left[0] == -1
    parts = tuple(_changed(part, left) for part in tree.parts)
    return Tree(tree.kind, parts, tree.value + here, tree.name)


def count_numbers(tree: Tree) -> int:
    """Return how many numbers and exponents a tree has."""
    return (tree.kind in ("number", "power")) + sum(map(count_numbers, tree.parts))


def surely_differ(one: Tree, other: Tree) -> bool:
    """Return whether two trees are defined and differ clearly at each of several points at which both are real."""
    differences = 0
    for at in (0.37, 1.91, 5.3, 13.7):
        point = {"x": complex(at), "y": complex(at * 1.7 + 0.3)}
        try:
            values = one.evaluate(point), other.evaluate(point)
        except (ZeroDivisionError, OverflowError):
            return False
        if not all(math.isfinite(abs(value)) for value in values):
            return False
        if any(abs(value.imag) > 1e-9 * abs(value) for value in values):
            return False
        if abs(values[0] - values[1]) > 1e-6 * max(map(abs, values)):
            differences += 1
    return differences == 4


def rational_spellings(value: Fraction) -> list[str]:
    """Return spellings of a fraction."""
    sign, numerator, denominator = "-" * (value < 0), abs(value.numerator), value.denominator
    found = [
        f"{sign}{numerator}/{denominator}",
        rf"{sign}\frac{{{numerator}}}{{{denominator}}}",
        rf"\frac{{{sign}{numerator}}}{{{denominator}}}",
        rf"{sign}\dfrac{{{7 * numerator}}}{{{7 * denominator}}}",
        f"Rational({sign}{numerator}, {denominator})",
        rf"\left({sign}\tfrac{{{numerator}}}{{{denominator}}}\right)",
        rf"{sign}{numerator}\cdot {denominator}^{{-1}}",
        rf"{sign}{numerator} \div {denominator}",
        f"x = {sign}{numerator}/{denominator}",
        rf"${sign}\frac{{{numerator}}}{{{denominator}}}$.",
        f"{sign}{numerator}⁄{denominator}".replace("-", "−"),
    ]
    whole, rest = divmod(numerator, denominator)
    if whole and rest:
        found += [rf"{sign}{whole}\frac{{{rest}}}{{{denominator}}}", f"{sign}{whole} {rest}/{denominator}"]
    if denominator == 1:
        found += [f"{value}", f"{value}.0", rf"{sign}{numerator:,}".replace(",", r"{,}"), f"{sign}{numerator:,}"]
    shift = next((at for at in range(1, 13) if 10**at % denominator == 0), 0)
    if shift:
        digits = str(numerator * 10**shift // denominator).rjust(shift + 1, "0")
        found += [f"{sign}{digits[:-shift]}.{digits[-shift:]}", rf"{sign}{digits}\times 10^{{-{shift}}}"]
    return found
