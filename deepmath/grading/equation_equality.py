"""Comparison of equations, assignments and computations."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from deepmath.grading.answer_nodes import (
    Application,
    Bracketed,
    Chain,
    Matrix,
    Name,
    Node,
    Number,
    Operation,
    names,
    rename,
)
from deepmath.grading.answer_shapes import (
    difference,
    has_unknown_function,
    have_same_head,
    is_function,
    is_head,
    is_label,
    rename_argument,
)
from deepmath.grading.part_matching import PartMatching
from deepmath.grading.ternary_logic import Ternary, all_of, any_of


class EquationEquality(PartMatching):
    """Comparison of chains of equations with one another and with values."""

    def _equal_value(self, chain: Chain, value: Node, answer_is_chain: bool = False) -> Ternary:
        """Compare an assignment x = 5, or a computation 2 + 3 = 5, with a value.

        An answer may also say what the value is: m + n = 17. For a gold answer that is an equation.
        """
        if chain.relations == ("to",):
            return False
        if not set(chain.relations) <= {"=", "approx"}:
            return False
        match chain.operands:
            case (Bracketed(_, _, heads), Bracketed(_, _, items)) if len(heads) != len(items):
                return False
        operands = list(chain.operands)
        if len(operands) == 2 and is_head(operands[1]) and not is_head(operands[0]):
            operands.reverse()
        if isinstance(operands[0], Application) and len(operands) == 2:
            operands[1] = rename_argument(operands[0], operands[1], value)
        if is_head(operands[0]) or (answer_is_chain and is_label(operands[0]) and not names(operands[1])):
            operands = operands[1:]
        elif names(chain):
            return False
        consistent = all_of(self._near(*pair, relation) for pair, relation in self._steps(operands, chain.relations))
        return all_of([any_of(self.equal(value, one) for one in reversed(operands)), consistent])

    def _steps(self, operands: list[Node], relations: Sequence[str]) -> list[tuple[tuple[Node, Node], str]]:
        own = relations[len(relations) - len(operands) + 1 :]
        return list(zip(pairwise(operands), own, strict=True))

    def _near(self, left: Node, right: Node, relation: str) -> Ternary:
        """Return whether a step of a computation is sound; an approximation must agree within a percent."""
        if relation == "=":
            return self.equal(left, right)
        distance = Operation("abs", (difference(left, right),))
        size = Operation("divide", (Operation("abs", (left,)), Number(Fraction(100))))
        order = self._scalars.order(distance, size)
        return None if order is None else order <= 0

    def _equal_chains(self, gold: Chain, answer: Chain) -> Ternary:
        relations = {*gold.relations, *answer.relations}
        if relations == {"="} and len(gold.operands) == len(answer.operands) > 2:  # a = b = c in any order
            same = self._match(gold.operands, answer.operands, self.equal)
            if same is not False:
                return same
        if relations <= {"=", "approx"} and is_head(gold.operands[0]) and is_head(answer.operands[0]):
            if have_same_head(gold, answer):
                return self._equal_assignments(gold, answer)
            if len(gold.operands) == len(answer.operands) == 2 and is_function(gold) and is_function(answer):
                return self._equal_functions(gold, answer)
        if gold.relations == answer.relations == ("=",):
            return self._equal_equations(gold, answer)
        if gold.relations != answer.relations:
            return False
        if set(gold.relations) == {"="}:
            return self._match(gold.operands, answer.operands, self.equal)
        return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))

    def _equal_assignments(self, gold: Chain, answer: Chain) -> Ternary:
        if len(answer.operands) > 2:
            return self._equal_value(answer, gold.operands[-1])
        if len(gold.operands) > 2:
            return self._equal_value(gold, answer.operands[1])
        return any_of(
            [
                self.equal(gold.operands[1], answer.operands[1]),
                self._equal_equations(gold, answer) if names(gold.operands[0]) & names(gold.operands[1]) else False,
            ]
        )

    def _equal_functions(self, gold: Chain, answer: Chain) -> Ternary:
        """Compare f(x) = x^2 with f(t) = t^2: the arguments are bound."""
        one, other = gold.operands[0], answer.operands[0]
        if not isinstance(one, Application) or not isinstance(other, Application):
            return False
        if one.function != other.function or len(one.arguments) != len(other.arguments):
            return False
        values = [gold.operands[1], answer.operands[1]]
        pairs = list(zip(one.arguments, other.arguments, strict=True))
        if not all(isinstance(argument, Name) and argument.text.islower() for pair in pairs for argument in pair):
            return False  # P(A) is not P(B)
        for at, pair in enumerate(pairs):
            values = [
                rename(value, getattr(name, "text", ""), Name(f"?{at}"))
                for value, name in zip(values, pair, strict=True)
            ]
        return self.equal(*values)

    def _equal_equations(self, gold: Chain, answer: Chain) -> Ternary:
        """Compare equations: one is a multiple of the other, or solved for a name of it."""
        if any(isinstance(node, Bracketed | Matrix) for chain in (gold, answer) for node in chain.operands):
            return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))
        differences = [difference(*chain.operands) for chain in (gold, answer)]
        if not names(differences[0]) and not names(differences[1]) and not has_unknown_function(gold, answer):
            return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))
        factor = self._scalars.proportional(*differences)
        if factor is None:
            return None
        if not factor:
            same = any_of(
                all_of(self.equal(*pair) for pair in zip(gold.operands, other, strict=True))
                for other in (answer.operands, answer.operands[::-1])
            )
            if same is not False:
                return same
        return bool(factor) or any_of([self._is_solved(gold, differences[1]), self._is_solved(answer, differences[0])])

    def _is_solved(self, solved: Chain, equation: Node) -> Ternary:
        """Return whether `solved`, y = g(x), is the only solution for y of `equation` = 0, linear in y."""
        left, right = solved.operands
        if not isinstance(left, Name) or left.text in names(right) or left.text not in names(equation):
            return False
        if len(names(equation)) < 2:
            return False
        residual = rename(equation, left.text, right)
        values = [rename(equation, left.text, Number(Fraction(at))) for at in (0, 1, 2)]
        bend = difference(difference(values[2], values[1]), difference(values[1], values[0]))
        zero = Number(Fraction(0))
        return all_of([self._scalars.equal(zero, bend), self._scalars.equal(zero, residual)])
