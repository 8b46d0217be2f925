"""Comparison of sets and inequalities."""

from deepmath.grading.answer_nodes import Bracketed, Builder, Chain, Listing, Name, Node, Operation, names, rename
from deepmath.grading.answer_rewriting import integer_elements
from deepmath.grading.answer_shapes import (
    are_inequalities,
    atoms_of,
    conditions_of,
    difference,
    flat_operands,
    is_builder,
    is_operation,
    is_over_integers,
    might_be_sets,
    names_in_order,
    pattern_of,
    subject_of,
)
from deepmath.grading.expression_equality import ExpressionEquality
from deepmath.grading.part_matching import PartMatching
from deepmath.grading.real_sets import NoRealSetError, RealSets
from deepmath.grading.ternary_logic import Ternary, all_of, any_of


class SetEquality(PartMatching):
    """Comparison of intervals, unions, sets by conditions, and inequalities."""

    def __init__(self, scalars: ExpressionEquality) -> None:
        super().__init__(scalars)
        self._sets = RealSets(scalars)

    def _equal_elements(self, gold: Node, answer: Node) -> Ternary:
        """Compare lists."""
        raise NotImplementedError

    def _equal_bracketed(self, gold: Bracketed, answer: Bracketed) -> Ternary:
        """Compare tuples or intervals."""
        raise NotImplementedError

    def _equal_sets(self, gold: Node, answer: Node) -> Ternary:
        if isinstance(gold, Bracketed) and isinstance(answer, Bracketed):
            return self._equal_bracketed(gold, answer)
        for whole, part in ((gold, answer), (answer, gold)):
            # n >= 2 is about integers without saying so
            if is_over_integers(whole) and are_inequalities(part) and names(whole) == names(part):
                return self.equal(whole.conditions, part) if isinstance(whole, Builder) else False
        subjects = subject_of(gold), subject_of(answer)
        if all(subjects) and subjects[0] != subjects[1] and not (is_builder(gold) or is_builder(answer)):
            return False
        integers = integer_elements(gold), integer_elements(answer)
        if any(integers):
            return any_of(self.equal(one, other) for one in integers[0] or [gold] for other in integers[1] or [answer])
        if is_builder(gold) and is_builder(answer):
            same = self._equal_builders(gold, answer)
            if same:
                return True
        try:
            one, other = self._sets.of(gold), self._sets.of(answer)
        except NoRealSetError:
            if isinstance(gold, Chain) and isinstance(answer, Chain) and gold.relations == answer.relations:
                return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))
            if is_operation(gold) and is_operation(answer):
                return self._equal_operations(gold, answer)
            return None if might_be_sets(gold, answer) else self._equal_elements(gold, answer)
        return self._sets.equal(one, other)

    def _equal_operations(self, gold: Node, answer: Node) -> Ternary:
        """Compare unions and the like whose parts have no order, part by part."""
        if not (isinstance(gold, Operation) and isinstance(answer, Operation)) or gold.operator != answer.operator:
            return False
        if gold.operator == "difference":
            return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))
        return self._match(flat_operands(gold), flat_operands(answer), self.equal)

    def _equal_builders(self, gold: Node, answer: Node) -> Ternary:
        if not (isinstance(gold, Builder) and isinstance(answer, Builder)):
            return False
        patterns = [pattern_of(one) for one in (gold, answer)]
        conditions = [conditions_of(one) for one in (gold, answer)]
        ordered = [names_in_order(pattern) for pattern in patterns]
        if len(ordered[0]) != len(ordered[1]):
            return False
        for side in (0, 1):
            for at, name in enumerate(ordered[side]):
                patterns[side] = rename(patterns[side], name, Name(f"?{at}"))
                conditions[side] = [rename(one, name, Name(f"?{at}")) for one in conditions[side]]
        return all_of([self.equal(*patterns), self._match(conditions[0], conditions[1], self.equal)])

    def _equal_inequalities(self, gold: Node, answer: Node) -> Ternary:
        joiners = [node.joiner if isinstance(node, Listing) else "," for node in (gold, answer)]
        atoms = [atoms_of(one) for one in (gold, answer)]
        if ("or" in joiners) == (joiners[0] == joiners[1] == "or"):
            same = self._match(atoms[0], atoms[1], self._equal_atoms)
            if same is not False:
                return same
        if names(gold) != names(answer):
            return False
        try:
            return self._sets.equal(self._sets.of(gold), self._sets.of(answer))
        except NoRealSetError:
            return None if len(names(gold)) == 1 else False

    def _equal_atoms(self, one: Node, other: Node) -> Ternary:
        if not isinstance(one, Chain) or not isinstance(other, Chain) or one.relations != other.relations:
            return False
        if one.relations[0] not in ("<", "<=", "!=", "="):
            return all_of(self.equal(*pair) for pair in zip(one.operands, other.operands, strict=True))
        factor = self._scalars.proportional(difference(*one.operands), difference(*other.operands))
        return factor if factor is None else factor > 0 or (factor < 0 and one.relations[0] in ("!=", "="))
