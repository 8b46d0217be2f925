"""Comparison of answers under conditions: the values of x = 2k, k in Z."""

from fractions import Fraction
from itertools import pairwise

from deepmath.grading.answer_nodes import Chain, Constant, Name, Node, Number, Operation, names, rename
from deepmath.grading.answer_rewriting import share_heads
from deepmath.grading.answer_shapes import (
    as_domain,
    difference,
    have_same_head,
    integer_names,
    is_domain,
    may_be_omitted,
    split_conditions,
    value_of,
)
from deepmath.grading.part_matching import PartMatching
from deepmath.grading.ternary_logic import Ternary, all_of, any_of

_PARAMETERS = frozenset("knmlN")


class ConditionEquality(PartMatching):
    """Comparison of conditions, and of the families of values that depend on an integer."""

    def _equal_qualified(self, gold: Node, answer: Node) -> Ternary:
        gold_core, gold_conditions = split_conditions(gold)
        answer_core, answer_conditions = split_conditions(answer)
        parameters = integer_names(gold_conditions), integer_names(answer_conditions)
        renamed = self._renamings(parameters, (gold_core, answer_core), (gold_conditions, answer_conditions))
        return any_of(
            all_of(
                [
                    self._equal_conditions(gold_core, gold_conditions, answer_core, conditions),
                    self._equal_families(gold_core, core, gold_conditions + conditions),
                ]
            )
            for core, conditions in renamed
        )

    def _renamings(
        self,
        parameters: tuple[list[str], list[str]],
        cores: tuple[Node, Node],
        conditions: tuple[tuple[Node, ...], tuple[Node, ...]],
    ) -> list[tuple[Node, tuple[Node, ...]]]:
        """Return the answer's core and conditions, also with its parameter named as the gold's."""
        core, own = cores[1], conditions[1]
        found = [(core, own)]
        expected, given = parameters
        if not expected or not given:  # undeclared on one side
            expected = expected or sorted((names(cores[0]) - names(core)) & _PARAMETERS)
            given = given or sorted((names(core) - names(cores[0])) & _PARAMETERS)
        if len(expected) == len(given) == 1 and expected != given and expected[0] not in names(core):
            old, new = given[0], Name(expected[0])
            found.append((rename(core, old, new), tuple(rename(one, old, new) for one in own)))
        return found

    def _equal_conditions(
        self, gold_core: Node, gold: tuple[Node, ...], answer_core: Node, answer: tuple[Node, ...]
    ) -> Ternary:
        """Compare conditions. One side may leave out that a parameter is an integer, or where a sequence starts."""
        expected = [one for one in gold if answer or not may_be_omitted(one, gold_core)]
        given = [one for one in answer if gold or not may_be_omitted(one, answer_core)]
        if not expected or not given:
            return not expected and not given
        return self._match([as_domain(one) for one in expected], [as_domain(one) for one in given], self._equal_domains)

    def _equal_domains(self, one: Node, other: Node) -> Ternary:
        """Compare conditions; natural numbers start at 0 or 1."""
        if is_domain(one) and is_domain(other):
            assert isinstance(one, Chain)
            assert isinstance(other, Chain)
            sets = {one.operands[1], other.operands[1]}
            same = len(sets) == 1 or sets in ({Constant("N"), Constant("Z+")}, {Constant("N"), Constant("Z>=0")})
            return same and one.operands[0] == other.operands[0]
        return self.equal(one, other)

    def _equal_families(self, gold: Node, answer: Node, conditions: tuple[Node, ...]) -> Ternary:
        """Compare sets of values that depend on an integer: equal if one is a shift or reflection of the other."""
        over_integers = [
            condition.operands[0].text
            for condition in conditions
            if isinstance(condition, Chain)
            and condition.relations == ("in",)
            and condition.operands[1] == Constant("Z")
            and isinstance(condition.operands[0], Name)
        ]
        parameter = next((name for name in over_integers if name in names(gold) and name in names(answer)), None)
        if parameter is None:
            return self.equal(gold, answer)
        direct = self.equal(gold, answer)
        if direct:
            return True
        gold_items, answer_items = share_heads(gold), share_heads(answer)
        shifted = self._match(gold_items, answer_items, lambda one, other: self._equal_shifted(one, other, parameter))
        return any_of([direct, shifted])

    def _equal_shifted(self, gold: Node, answer: Node, parameter: str) -> Ternary:
        gold_value, answer_value = value_of(gold), value_of(answer)
        if gold_value is None or answer_value is None or not have_same_head(gold, answer):
            return self.equal(gold, answer)
        values = [
            [rename(value, parameter, Number(Fraction(at))) for at in (0, 1, 2)] for value in (gold_value, answer_value)
        ]
        steps = [[difference(later, earlier) for earlier, later in pairwise(one)] for one in values]
        same_steps = any_of(
            [
                self._scalars.equal(steps[0][0], steps[1][0]),
                self._scalars.equal(steps[0][0], Operation("negate", (steps[1][0],))),
            ]
        )
        linear = all_of(self._scalars.equal(*one) for one in steps)
        if not (same_steps and linear):
            return all_of([same_steps, linear])
        offset = Operation("divide", (difference(values[0][0], values[1][0]), steps[0][0]))
        return any_of(self._scalars.equal(offset, Number(Fraction(at))) for at in range(-12, 13))
