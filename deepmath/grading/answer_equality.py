r"""Equality of two answers by their structure.

Theory of operation. Both trees are split into parts that mean the same in the same order: the elements of a set, the
ends of an interval, the entries of a tuple, the atoms of a chain of relations. Only scalars are left for
`ExpressionEquality`. Every comparison has three outcomes: True, False, or None where exact arithmetic cannot tell; one
False decides a conjunction and one True a disjunction, whatever else is unknown.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from deepmath.grading.answer_nodes import (
    Bracketed,
    Builder,
    Cases,
    Chain,
    Collection,
    Congruence,
    Constant,
    Ellipsis,
    Listing,
    Matrix,
    Name,
    Node,
    Number,
    Operation,
    Qualified,
    Quantity,
    Ratio,
    names,
    rename,
)
from deepmath.grading.answer_rewriting import (
    Progression,
    assignments,
    expand_signs,
    is_of_one_unknown,
    progression,
    residue_classes,
    share_heads,
    split_builder,
    values_of_unknown,
)
from deepmath.grading.answer_shapes import (
    are_congruences,
    are_inequalities,
    has_sign,
    is_list,
    is_python_list,
    is_set,
    items_of,
    link_equations,
    might_be_sets,
    ordered_values,
    share_exclusions,
    tuple_items,
)
from deepmath.grading.condition_equality import ConditionEquality
from deepmath.grading.equation_equality import EquationEquality
from deepmath.grading.expression_equality import ExpressionEquality
from deepmath.grading.set_equality import SetEquality
from deepmath.grading.ternary_logic import Ternary, all_of, any_of

_MOST_ELEMENTS = 60
_MOST_DEPTH = 12


class AnswerEquality(ConditionEquality, SetEquality, EquationEquality):
    """Comparison with the scalars compared by `scalars`."""

    def __init__(self, scalars: ExpressionEquality) -> None:
        super().__init__(scalars)
        self._depth = 0

    def equal(self, gold: Node, answer: Node) -> Ternary:
        """Return whether two answers are equal, or None if this comparison cannot tell."""
        self._depth += 1
        try:
            return False if self._depth > _MOST_DEPTH else self._equal(gold, answer)
        finally:
            self._depth -= 1

    def _equal(self, gold: Node, answer: Node) -> Ternary:
        gold, answer = (link_equations(share_exclusions(split_builder(one))) for one in (gold, answer))
        if isinstance(gold, Qualified) or isinstance(answer, Qualified):
            return self._equal_qualified(gold, answer)
        if isinstance(gold, Quantity) or isinstance(answer, Quantity):
            return self._equal_quantities(gold, answer)
        two = isinstance(answer, Bracketed) and is_list(gold) and answer.opening + answer.closing == "[]"
        if two or is_python_list(answer, gold) or is_python_list(gold, answer):
            return self._equal(
                *(Listing(node.items, ",") if isinstance(node, Bracketed) else node for node in (gold, answer))
            )
        if has_sign(gold) or has_sign(answer):
            return self._equal_with_signs(gold, answer)
        if Constant("empty") in (gold, answer) and isinstance(gold, Collection) != isinstance(answer, Collection):
            return False
        if isinstance(gold, Congruence) or isinstance(answer, Congruence) or are_congruences(gold, answer):
            return self._equal_congruences(gold, answer)
        if is_set(gold) or is_set(answer):
            return self._equal_sets(gold, answer)
        if are_inequalities(gold) and are_inequalities(answer):
            return self._equal_inequalities(gold, answer)
        if are_inequalities(gold) or are_inequalities(answer):
            return self._equal_sets(gold, answer) if might_be_sets(gold, answer) else False
        return self._equal_elements(gold, answer)

    # Quantities and signs

    def _equal_quantities(self, gold: Node, answer: Node) -> Ternary:
        units = [node.unit if isinstance(node, Quantity) else "" for node in (gold, answer)]
        if all(units) and units[0] != units[1]:
            return False
        values = [node.value if isinstance(node, Quantity) else node for node in (gold, answer)]
        return self.equal(*values)

    def _equal_with_signs(self, gold: Node, answer: Node) -> Ternary:
        r"""Compare answers with \pm: signs of one expression go together, or are independent of one another."""
        gold_ways, answer_ways = expand_signs(gold), expand_signs(answer)
        return any_of(self.equal(one, other) for one, other in product(gold_ways, answer_ways))

    # Congruences

    def _equal_congruences(self, gold: Node, answer: Node) -> Ternary:
        one, other = residue_classes(gold), residue_classes(answer)
        if one is None or other is None:
            return self._equal_items(gold, answer) if are_congruences(gold, answer) else False
        if one.subject and other.subject and one.subject != other.subject:
            return False
        return one.residues == other.residues and one.modulus == other.modulus

    def _equal_items(self, gold: Node, answer: Node) -> Ternary:
        def same(one: Node, other: Node) -> Ternary:
            if not isinstance(one, Congruence) or not isinstance(other, Congruence):
                return False
            subjects = True if not one.subject or not other.subject else self.equal(one.subject, other.subject)
            return all_of([subjects, self.equal(one.modulus, other.modulus), self.equal(one.residue, other.residue)])

        return self._match(items_of(gold), items_of(answer), same)

    # Lists, equations and tuples

    def _equal_elements(self, gold: Node, answer: Node) -> Ternary:
        maps = [assignments(one) for one in (gold, answer) if not is_of_one_unknown(items_of(one))]
        if len(maps) == 2 and all(maps):
            one, other = (dict(found or ()) for found in maps)
            return one.keys() == other.keys() and all_of(self.equal(value, other[name]) for name, value in one.items())
        ordered = ordered_values(gold, answer), ordered_values(answer, gold)
        if any(ordered):
            values, others = ordered[0] or tuple_items(gold), ordered[1] or tuple_items(answer)
            return self._in_order(values, others) if values and others else False
        gold_items, answer_items = share_heads(gold), share_heads(answer)
        if max(len(gold_items), len(answer_items)) > 1:
            unknowns = values_of_unknown(gold_items), values_of_unknown(answer_items)
            if all(name for name, _ in unknowns):
                if unknowns[0][0] != unknowns[1][0]:
                    return False
                gold_items, answer_items = unknowns[0][1], unknowns[1][1]
            elif unknowns[0][0] and not any(isinstance(item, Chain) for item in answer_items):
                gold_items = unknowns[0][1]
            elif unknowns[1][0] and not any(isinstance(item, Chain) for item in gold_items):
                answer_items = unknowns[1][1]
        if len(gold_items) == len(answer_items) == 1:
            return self._equal_one(gold_items[0], answer_items[0])
        if any(isinstance(item, Ellipsis) for item in (*gold_items, *answer_items)):
            return self._equal_with_dots(gold_items, answer_items)
        return self._equal_lists(gold, answer, gold_items, answer_items)

    def _equal_lists(
        self, gold: Node, answer: Node, gold_items: Sequence[Node], answer_items: Sequence[Node]
    ) -> Ternary:
        if max(len(gold_items), len(answer_items)) > _MOST_ELEMENTS:
            return all_of([len(gold_items) == len(answer_items), self._in_order(gold_items, answer_items)])
        if isinstance(gold, Collection) or isinstance(answer, Collection):
            return self._cover(gold_items, answer_items)
        return self._match(gold_items, answer_items, self._equal_one)

    def _equal_with_dots(self, gold: Sequence[Node], answer: Sequence[Node]) -> Ternary:
        """Compare lists with omitted elements: as progressions, or else element by element."""
        one, other = progression(gold, self._scalars), progression(answer, self._scalars)
        if one is not None and other is not None:
            return self._equal_progressions(one, other)
        return self._in_order(gold, answer)

    def _equal_progressions(self, one: Progression, other: Progression) -> Ternary:
        if (one.last is None) != (other.last is None):
            return False
        pairs = [(one.first, other.first), (one.step, other.step)]
        if one.last is not None and other.last is not None:
            pairs.append((one.last, other.last))
        return all_of(self._scalars.equal(*pair) for pair in pairs)

    def _equal_one(self, gold: Node, answer: Node) -> Ternary:
        if isinstance(gold, Chain) and isinstance(answer, Chain):
            return self._equal_chains(gold, answer)
        if isinstance(gold, Chain) or isinstance(answer, Chain):
            chain, other = (gold, answer) if isinstance(gold, Chain) else (answer, gold)
            return self._equal_value(chain, other, chain is answer) if isinstance(chain, Chain) else False
        if any(
            isinstance(node, Listing | Collection | Builder | Qualified | Congruence | Quantity)
            for node in (gold, answer)
        ):
            return self.equal(gold, answer)
        if isinstance(gold, Bracketed) and isinstance(answer, Bracketed):
            return self._equal_bracketed(gold, answer)
        if isinstance(gold, Matrix | Bracketed) or isinstance(answer, Matrix | Bracketed):
            return self._equal_matrices(gold, answer)
        if isinstance(gold, Cases) or isinstance(answer, Cases):
            return self._equal_cases(gold, answer)
        if isinstance(gold, Ratio) or isinstance(answer, Ratio):
            return self._equal_ratios(gold, answer)
        if names(gold) ^ names(answer) == {"C", "c"} and not isinstance(gold, Name):  # a constant of integration
            gold, answer = rename(gold, "c", Name("C")), rename(answer, "c", Name("C"))
        return self._scalars.equal(gold, answer)

    def _equal_bracketed(self, gold: Bracketed, answer: Bracketed) -> Ternary:
        brackets = (gold.opening + gold.closing, answer.opening + answer.closing)
        if brackets[0] != brackets[1] and (len(gold.items) == 2 or set(brackets) != {"()", "[]"}):
            return False
        if any(isinstance(item, Ellipsis) for item in (*gold.items, *answer.items)):
            return self._equal_with_dots(gold.items, answer.items)
        return self._in_order(gold.items, answer.items)

    def _equal_matrices(self, gold: Node, answer: Node) -> Ternary:
        """Compare matrices; a tuple of numbers may stand for a single row or column."""
        if isinstance(gold, Matrix) and isinstance(answer, Matrix):
            if [len(row) for row in gold.rows] != [len(row) for row in answer.rows]:
                return False
            return all_of(
                self.equal(*pair)
                for rows in zip(gold.rows, answer.rows, strict=True)
                for pair in zip(*rows, strict=True)
            )
        matrix, other = (gold, answer) if isinstance(gold, Matrix) else (answer, gold)
        if not isinstance(matrix, Matrix) or not isinstance(other, Bracketed) or other.opening + other.closing != "()":
            return False
        if len(matrix.rows) > 1 and len(matrix.rows[0]) > 1:
            return False
        return self._in_order([cell for row in matrix.rows for cell in row], other.items)

    def _equal_cases(self, gold: Node, answer: Node) -> Ternary:
        if not isinstance(gold, Cases) or not isinstance(answer, Cases):
            return False
        return self._match(
            [Bracketed("(", ")", row) for row in gold.rows],
            [Bracketed("(", ")", row) for row in answer.rows],
            self.equal,
        )

    def _equal_ratios(self, gold: Node, answer: Node) -> Ternary:
        parts = [node.parts if isinstance(node, Ratio) else (node, Number(Fraction(1))) for node in (gold, answer)]
        if len(parts[0]) != len(parts[1]):
            return False
        first = Operation("divide", (parts[0][0], parts[1][0]))
        return all_of(self._scalars.equal(first, Operation("divide", pair)) for pair in zip(*parts, strict=True))
