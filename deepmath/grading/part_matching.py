"""Comparison of lists of parts: in their order, one by one in any order, or as sets."""

from collections.abc import Callable, Sequence

from deepmath.grading.answer_nodes import Ellipsis, Node
from deepmath.grading.expression_equality import ExpressionEquality
from deepmath.grading.ternary_logic import Ternary, all_of, any_of

_MOST_ELEMENTS = 60


class PartMatching:
    """Comparison of parts, with the scalars compared by `scalars`, for a subclass that compares whole answers."""

    def __init__(self, scalars: ExpressionEquality) -> None:
        self._scalars = scalars

    def equal(self, gold: Node, answer: Node) -> Ternary:
        """Return whether two answers are equal, or None if this comparison cannot tell."""
        raise NotImplementedError

    def _equal_one(self, gold: Node, answer: Node) -> Ternary:
        """Compare two elements of lists."""
        raise NotImplementedError

    def _in_order(self, gold: Sequence[Node], answer: Sequence[Node]) -> Ternary:
        if len(gold) != len(answer):
            return False
        return all_of(
            isinstance(one, Ellipsis) and isinstance(other, Ellipsis)
            if isinstance(one, Ellipsis) or isinstance(other, Ellipsis)
            else self.equal(one, other)
            for one, other in zip(gold, answer, strict=True)
        )

    def _match(self, gold: Sequence[Node], answer: Sequence[Node], same: Callable[[Node, Node], Ternary]) -> Ternary:
        """Return whether each element has a partner of its own."""
        if len(gold) != len(answer) or len(gold) > _MOST_ELEMENTS:
            return False
        free, unknown = list(answer), False
        for one in gold:
            verdicts = [same(one, other) for other in free]
            if True in verdicts:
                del free[verdicts.index(True)]
            elif None in verdicts:
                unknown = True
            else:
                return False
        return None if unknown else True

    def _cover(self, gold: Sequence[Node], answer: Sequence[Node]) -> Ternary:
        """Return whether each element of one set occurs in the other, and conversely."""
        verdicts = [[self._equal_one(one, other) for other in answer] for one in gold]
        rows = [any_of(row) for row in verdicts]
        columns = [any_of(column) for column in zip(*verdicts, strict=True)]
        return all_of([*rows, *columns])
