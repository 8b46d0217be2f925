"""Construction of expressions from their parts, with the arithmetic of matrices carried out."""

from fractions import Fraction

from deepmath.grading.answer_nodes import Bracketed, Collection, Matrix, Node, Number, Operation, Quantity
from deepmath.grading.answer_tokens import UnreadableError
from deepmath.grading.matrix_algebra import add_matrices, multiply_matrices
from deepmath.grading.measured_quantity import NOT_UNIT

_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_ANY_NUMBER = frozenset({"max", "min", "gcd", "lcm"})


def with_unit(base: Node, text: str) -> Node:
    """Return a value with its unit, or multiplied by a number in words."""
    if text in _SCALES:
        return Operation("multiply", (base, Number(Fraction(_SCALES[text]))))
    if isinstance(base, Quantity) or NOT_UNIT.search(text):
        raise UnreadableError("words that are no unit")
    return Quantity(base, text)


def check_arguments(name: str, arguments: list[Node]) -> None:
    """Check the number of arguments, and unpack those in braces, as in max{1, 2}."""
    if name in _ANY_NUMBER:
        if len(arguments) == 1 and isinstance(arguments[0], Collection):
            arguments[:] = arguments[0].items
        return
    expected = {"log": (1, 2), "binomial": (2,), "root": (2,), "rational": (1, 2)}.get(name, (1,))
    if len(arguments) not in expected:
        raise UnreadableError(f"a wrong number of arguments of {name}")


def signed(sign: str, node: Node) -> Node:
    """Return a term with its sign."""
    if sign == "add":
        return node
    return negative(node) if sign == "subtract" else Operation(sign, (node,))


def negative(node: Node) -> Node:
    """Return the negative of a term, of a matrix cell by cell."""
    if isinstance(node, Matrix):
        return Matrix(tuple(tuple(map(negative, row)) for row in node.rows))
    return Operation("negate", (node,))


def sum_of(terms: list[Node]) -> Node:
    """Return the sum of terms."""
    if len(terms) == 1:
        return terms[0]
    if all(isinstance(term, Matrix) for term in terms):
        return add_matrices([term for term in terms if isinstance(term, Matrix)])
    return Operation("add", tuple(terms))


def product_of(left: Node, right: Node) -> Node:
    """Return the product of two factors."""
    if isinstance(left, Matrix) or isinstance(right, Matrix):
        return multiply_matrices(left, right)
    if isinstance(left, Operation) and left.operator == "multiply":
        return Operation("multiply", (*left.operands, right))
    return Operation("multiply", (left, right))


def quotient(left: Node, right: Node) -> Node:
    """Return a quotient."""
    if isinstance(left, Matrix):
        return multiply_matrices(Operation("divide", (Number(Fraction(1)), right)), left)
    return Operation("divide", (left, right))


def is_fraction(node: Node) -> bool:
    """Return whether `node` is a quotient of two natural numbers as written."""
    return (
        isinstance(node, Operation)
        and node.operator == "divide"
        and all(isinstance(part, Number) and part.value.denominator == 1 for part in node.operands)
    )


def as_matrix(node: Node) -> Node:
    """Return the matrix of nested lists. A flat list is a column."""
    if isinstance(node, Matrix):
        return node
    if not isinstance(node, Bracketed):
        return Matrix(((node,),))
    rows = [item.items if isinstance(item, Bracketed) else (item,) for item in node.items]
    if len({len(row) for row in rows}) != 1:
        raise UnreadableError("rows of different lengths")
    return Matrix(tuple(rows))


def recurring(text: str) -> Fraction | None:
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
