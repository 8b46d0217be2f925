"""Arithmetic of small matrices of expressions: sums, products with a factor, products and determinants."""

from itertools import permutations

from deepmath.grading.answer_nodes import Matrix, Node, Operation
from deepmath.grading.answer_tokens import UnreadableError

_MOST_CELLS = 100
_LARGEST_DETERMINANT = 4


def add_matrices(matrices: list[Matrix]) -> Matrix:
    """Return the sum, cell by cell.

    Raises:
        UnreadableError: The shapes differ.
    """
    shapes = {tuple(map(len, matrix.rows)) for matrix in matrices}
    if len(shapes) != 1:
        raise UnreadableError("a sum of matrices of different shapes")
    rows = zip(*(matrix.rows for matrix in matrices), strict=True)
    return Matrix(tuple(tuple(Operation("add", cells) for cells in zip(*row, strict=True)) for row in rows))


def multiply_matrices(left: Node, right: Node) -> Matrix:
    """Return the product of two factors, of which at least one is a matrix.

    Raises:
        UnreadableError: The shapes do not fit, or are too large.
    """
    if isinstance(left, Matrix) and isinstance(right, Matrix):
        columns = list(zip(*right.rows, strict=True))
        if len(left.rows[0]) != len(right.rows) or len(left.rows) * len(columns) * len(right.rows) > _MOST_CELLS:
            raise UnreadableError("a product of matrices whose shapes do not fit")
        return Matrix(tuple(tuple(_dot(row, column) for column in columns) for row in left.rows))
    matrix, factor = (left, right) if isinstance(left, Matrix) else (right, left)
    if not isinstance(matrix, Matrix):
        raise UnreadableError("a product without a matrix")
    return Matrix(tuple(tuple(Operation("multiply", (factor, cell)) for cell in row) for row in matrix.rows))


def determinant(rows: tuple[tuple[Node, ...], ...]) -> Node:
    """Return the determinant by Leibniz's formula.

    Raises:
        UnreadableError: The matrix is not square, or larger than 4 x 4.
    """
    if len(rows) != len(rows[0]) or len(rows) > _LARGEST_DETERMINANT:
        raise UnreadableError("a determinant that is too large or not square")
    terms: list[Node] = []
    for order in permutations(range(len(rows))):
        inversions = sum(order[one] > order[two] for two in range(len(rows)) for one in range(two))
        product = Operation("multiply", tuple(rows[at][column] for at, column in enumerate(order)))
        terms.append(Operation("negate", (product,)) if inversions % 2 else product)
    return Operation("add", tuple(terms))


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    return Operation("add", tuple(Operation("multiply", pair) for pair in zip(row, column, strict=True)))
