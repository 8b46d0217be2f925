r"""Equality of two answers by their structure.

Theory of operation. Both trees are split into parts that mean the same in the same order: the elements of a set, the
ends of an interval, the entries of a tuple, the atoms of a chain of relations. Only scalars are left for
`ExpressionEquality`. Every comparison has three outcomes: True, False, or None where exact arithmetic cannot tell; one
False decides a conjunction and one True a disjunction, whatever else is unknown.
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise, product

from deepmath.grading.answer_nodes import (
    Application,
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
    walk,
)
from deepmath.grading.answer_rewriting import (
    Progression,
    assignments,
    expand_signs,
    integer_elements,
    is_of_one_unknown,
    progression,
    residue_classes,
    share_heads,
    split_builder,
    values_of_unknown,
)
from deepmath.grading.exact_arithmetic import UndefinedError
from deepmath.grading.expression_equality import ExpressionEquality
from deepmath.grading.real_sets import NoRealSetError, RealSets

_MOST_ELEMENTS = 60
_MOST_RENAMINGS = 2
_PARAMETERS = frozenset("knmlN")
_SET_OPERATIONS = frozenset({"union", "intersection", "difference"})
_REAL_CONSTANTS = frozenset({"R", "R+", "R>=0", "R-"})
_INEQUALITIES = frozenset({"<", ">", "<=", ">=", "!="})
_FLIPPED = {">": "<", ">=": "<="}
_MOST_DEPTH = 12

Verdict = bool | None


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the conjunction: False if one is False, else None if one is unknown."""
    found: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            found = None
    return found


def any_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the disjunction: True if one is True, else None if one is unknown."""
    found: Verdict = False
    for verdict in verdicts:
        if verdict:
            return True
        if verdict is None:
            found = None
    return found


class AnswerEquality:
    """Comparison with the scalars compared by `scalars`."""

    def __init__(self, scalars: ExpressionEquality) -> None:
        self._scalars = scalars
        self._sets = RealSets(scalars)
        self._depth = 0

    def equal(self, gold: Node, answer: Node) -> Verdict:
        """Return whether two answers are equal, or None if this comparison cannot tell."""
        self._depth += 1
        try:
            return False if self._depth > _MOST_DEPTH else self._equal(gold, answer)
        finally:
            self._depth -= 1

    def _equal(self, gold: Node, answer: Node) -> Verdict:
        gold, answer = _share_exclusions(split_builder(gold)), _share_exclusions(split_builder(answer))
        if isinstance(gold, Qualified) or isinstance(answer, Qualified):
            return self._equal_qualified(gold, answer)
        if isinstance(gold, Quantity) or isinstance(answer, Quantity):
            return self._equal_quantities(gold, answer)
        two = isinstance(answer, Bracketed) and isinstance(gold, Listing) and answer.opening + answer.closing == "[]"
        if two or _is_python_list(answer, gold) or _is_python_list(gold, answer):
            return self._equal(
                *(Listing(node.items, ",") if isinstance(node, Bracketed) else node for node in (gold, answer))
            )
        if _has_sign(gold) or _has_sign(answer):
            return self._equal_with_signs(gold, answer)
        if Constant("empty") in (gold, answer) and isinstance(gold, Collection) != isinstance(answer, Collection):
            return False
        if isinstance(gold, Congruence) or isinstance(answer, Congruence) or _are_congruences(gold, answer):
            return self._equal_congruences(gold, answer)
        if _is_set(gold) or _is_set(answer):
            return self._equal_sets(gold, answer)
        if _are_inequalities(gold) and _are_inequalities(answer):
            return self._equal_inequalities(gold, answer)
        if _are_inequalities(gold) or _are_inequalities(answer):
            return self._equal_sets(gold, answer) if _might_be_sets(gold, answer) else False
        return self._equal_elements(gold, answer)

    # Conditions

    def _equal_qualified(self, gold: Node, answer: Node) -> Verdict:
        gold_core, gold_conditions = _split(gold)
        answer_core, answer_conditions = _split(answer)
        parameters = _integers(gold_conditions), _integers(answer_conditions)
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
    ) -> Verdict:
        """Compare conditions. One side may leave out that a parameter is an integer, or where a sequence starts."""
        expected = [one for one in gold if answer or not _may_be_omitted(one, gold_core)]
        given = [one for one in answer if gold or not _may_be_omitted(one, answer_core)]
        if not expected or not given:
            return not expected and not given
        return self._match(
            [_as_domain(one) for one in expected], [_as_domain(one) for one in given], self._equal_domains
        )

    def _equal_domains(self, one: Node, other: Node) -> Verdict:
        """Compare conditions; natural numbers start at 0 or 1."""
        if _is_domain(one) and _is_domain(other):
            assert isinstance(one, Chain) and isinstance(other, Chain)
            sets = {one.operands[1], other.operands[1]}
            same = len(sets) == 1 or sets in ({Constant("N"), Constant("Z+")}, {Constant("N"), Constant("Z>=0")})
            return same and one.operands[0] == other.operands[0]
        return self.equal(one, other)

    def _equal_families(self, gold: Node, answer: Node, conditions: tuple[Node, ...]) -> Verdict:
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

    def _equal_shifted(self, gold: Node, answer: Node, parameter: str) -> Verdict:
        gold_value, answer_value = _value_of(gold), _value_of(answer)
        if gold_value is None or answer_value is None or not self._same_head(gold, answer):
            return self.equal(gold, answer)
        values = [
            [rename(value, parameter, Number(Fraction(at))) for at in (0, 1, 2)] for value in (gold_value, answer_value)
        ]
        steps = [[_difference(later, earlier) for earlier, later in pairwise(one)] for one in values]
        same_steps = any_of(
            [
                self._scalars.equal(steps[0][0], steps[1][0]),
                self._scalars.equal(steps[0][0], Operation("negate", (steps[1][0],))),
            ]
        )
        linear = all_of(self._scalars.equal(*one) for one in steps)
        if not (same_steps and linear):
            return all_of([same_steps, linear])
        offset = Operation("divide", (_difference(values[0][0], values[1][0]), steps[0][0]))
        return any_of(self._scalars.equal(offset, Number(Fraction(at))) for at in range(-12, 13))

    # Quantities and signs

    def _equal_quantities(self, gold: Node, answer: Node) -> Verdict:
        units = [node.unit if isinstance(node, Quantity) else "" for node in (gold, answer)]
        if all(units) and units[0] != units[1]:
            return False
        values = [node.value if isinstance(node, Quantity) else node for node in (gold, answer)]
        return self.equal(*values)

    def _equal_with_signs(self, gold: Node, answer: Node) -> Verdict:
        r"""Compare answers with \pm: signs of one expression go together, or are independent of one another."""
        gold_ways, answer_ways = expand_signs(gold), expand_signs(answer)
        return any_of(self.equal(one, other) for one, other in product(gold_ways, answer_ways))

    # Congruences

    def _equal_congruences(self, gold: Node, answer: Node) -> Verdict:
        one, other = residue_classes(gold), residue_classes(answer)
        if one is None or other is None:
            return self._equal_items(gold, answer) if _are_congruences(gold, answer) else False
        if one.subject and other.subject and one.subject != other.subject:
            return False
        return one.residues == other.residues and one.modulus == other.modulus

    def _equal_items(self, gold: Node, answer: Node) -> Verdict:
        def same(one: Node, other: Node) -> Verdict:
            if not isinstance(one, Congruence) or not isinstance(other, Congruence):
                return False
            subjects = True if not one.subject or not other.subject else self.equal(one.subject, other.subject)
            return all_of([subjects, self.equal(one.modulus, other.modulus), self.equal(one.residue, other.residue)])

        return self._match(_items(gold), _items(answer), same)

    # Sets and inequalities

    def _equal_sets(self, gold: Node, answer: Node) -> Verdict:
        if isinstance(gold, Bracketed) and isinstance(answer, Bracketed):
            return self._equal_bracketed(gold, answer)
        subjects = _subject(gold), _subject(answer)
        if all(subjects) and subjects[0] != subjects[1] and not (_is_builder(gold) or _is_builder(answer)):
            return False
        integers = integer_elements(gold), integer_elements(answer)
        if any(integers):
            return any_of(self.equal(one, other) for one in integers[0] or [gold] for other in integers[1] or [answer])
        if _is_builder(gold) and _is_builder(answer):
            same = self._equal_builders(gold, answer)
            if same:
                return True
        try:
            one, other = self._sets.of(gold), self._sets.of(answer)
        except NoRealSetError:
            if isinstance(gold, Chain) and isinstance(answer, Chain) and gold.relations == answer.relations:
                return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))
            if _is_operation(gold) and _is_operation(answer):
                return self._equal_operations(gold, answer)
            return None if _might_be_sets(gold, answer) else self._equal_elements(gold, answer)
        return self._sets.equal(one, other)

    def _equal_operations(self, gold: Node, answer: Node) -> Verdict:
        """Compare unions and the like whose parts have no order, part by part."""
        if not (isinstance(gold, Operation) and isinstance(answer, Operation)) or gold.operator != answer.operator:
            return False
        if gold.operator == "difference":
            return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))
        return self._match(_flat(gold), _flat(answer), self.equal)

    def _equal_builders(self, gold: Node, answer: Node) -> Verdict:
        if not (isinstance(gold, Builder) and isinstance(answer, Builder)):
            return False
        patterns = [_pattern(one) for one in (gold, answer)]
        conditions = [_conditions(one) for one in (gold, answer)]
        ordered = [_names_in_order(pattern) for pattern in patterns]
        if len(ordered[0]) != len(ordered[1]):
            return False
        for side in (0, 1):
            for at, name in enumerate(ordered[side]):
                patterns[side] = rename(patterns[side], name, Name(f"?{at}"))
                conditions[side] = [rename(one, name, Name(f"?{at}")) for one in conditions[side]]
        return all_of([self.equal(*patterns), self._match(*conditions, self.equal)])

    def _equal_inequalities(self, gold: Node, answer: Node) -> Verdict:
        joiners = [node.joiner if isinstance(node, Listing) else "," for node in (gold, answer)]
        atoms = [_atoms(one) for one in (gold, answer)]
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

    def _equal_atoms(self, one: Node, other: Node) -> Verdict:
        if not isinstance(one, Chain) or not isinstance(other, Chain) or one.relations != other.relations:
            return False
        if one.relations[0] not in ("<", "<=", "!=", "="):
            return all_of(self.equal(*pair) for pair in zip(one.operands, other.operands, strict=True))
        factor = self._scalars.proportional(_difference(*one.operands), _difference(*other.operands))
        return factor if factor is None else factor > 0 or (factor < 0 and one.relations[0] in ("!=", "="))

    # Lists, equations and tuples

    def _equal_elements(self, gold: Node, answer: Node) -> Verdict:
        maps = assignments(gold), assignments(answer)
        if maps[0] and maps[1] and not is_of_one_unknown(_items(gold)) and not is_of_one_unknown(_items(answer)):
            (keys, values), (other_keys, other_values) = (zip(*sorted(one, key=_key), strict=True) for one in maps)
            return keys == other_keys and self._in_order(values, other_values)
        ordered = _ordered_values(gold, answer), _ordered_values(answer, gold)
        if any(ordered):
            one, other = ordered[0] or _tuple_items(gold), ordered[1] or _tuple_items(answer)
            return self._in_order(one, other) if one and other else False
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
    ) -> Verdict:
        if max(len(gold_items), len(answer_items)) > _MOST_ELEMENTS:
            return all_of([len(gold_items) == len(answer_items), self._in_order(gold_items, answer_items)])
        if isinstance(gold, Collection) or isinstance(answer, Collection):
            return self._cover(gold_items, answer_items)
        return self._match(gold_items, answer_items, self._equal_one)

    def _equal_with_dots(self, gold: Sequence[Node], answer: Sequence[Node]) -> Verdict:
        """Compare lists with omitted elements: as progressions, or else element by element."""
        one, other = progression(gold, self._scalars), progression(answer, self._scalars)
        if one is not None and other is not None:
            return self._equal_progressions(one, other)
        return self._in_order(gold, answer)

    def _equal_progressions(self, one: Progression, other: Progression) -> Verdict:
        if (one.last is None) != (other.last is None):
            return False
        pairs = [(one.first, other.first), (one.step, other.step)]
        if one.last is not None and other.last is not None:
            pairs.append((one.last, other.last))
        return all_of(self._scalars.equal(*pair) for pair in pairs)

    def _equal_one(self, gold: Node, answer: Node) -> Verdict:
        if isinstance(gold, Chain) and isinstance(answer, Chain):
            return self._equal_chains(gold, answer)
        if isinstance(gold, Chain) or isinstance(answer, Chain):
            chain, other = (gold, answer) if isinstance(gold, Chain) else (answer, gold)
            return self._equal_value(chain, other, chain is answer) if isinstance(chain, Chain) else False
        if isinstance(gold, Bracketed) and isinstance(answer, Bracketed):
            return self._equal_bracketed(gold, answer)
        if isinstance(gold, Matrix | Bracketed) or isinstance(answer, Matrix | Bracketed):
            return self._equal_matrices(gold, answer)
        if isinstance(gold, Cases) or isinstance(answer, Cases):
            return self._equal_cases(gold, answer)
        if isinstance(gold, Ratio) or isinstance(answer, Ratio):
            return self._equal_ratios(gold, answer)
        if any(
            isinstance(node, Listing | Collection | Builder | Qualified | Congruence | Quantity)
            for node in (gold, answer)
        ):
            return self.equal(gold, answer)
        if names(gold) ^ names(answer) == {"C", "c"}:  # a constant of integration
            gold, answer = rename(gold, "c", Name("C")), rename(answer, "c", Name("C"))
        return self._scalars.equal(gold, answer)

    def _equal_value(self, chain: Chain, value: Node, answer_is_chain: bool = False) -> Verdict:
        """Compare an assignment x = 5, or a computation 2 + 3 = 5, with a value.

        An answer may also say what the value is: m + n = 17. For a gold answer that is an equation.
        """
        if chain.relations == ("to",):
            return False
        if not set(chain.relations) <= {"=", "approx"}:
            return False
        operands = list(chain.operands)
        if len(operands) == 2 and _is_head(operands[1]) and not _is_head(operands[0]):
            operands.reverse()
        if isinstance(operands[0], Application) and len(operands) == 2:
            operands[1] = _rename_argument(operands[0], operands[1], value)
        if _is_head(operands[0]) or (answer_is_chain and _is_label(operands[0]) and not names(operands[1])):
            operands = operands[1:]
        elif names(chain):
            return False
        exact = [operand for operand, relation in zip(operands[::-1], (*chain.relations[::-1], "="), strict=False)]
        consistent = all_of(self._near(*pair, relation) for pair, relation in self._steps(operands, chain.relations))
        return all_of([any_of(self.equal(value, one) for one in exact), consistent])

    def _steps(self, operands: list[Node], relations: Sequence[str]) -> list[tuple[tuple[Node, Node], str]]:
        own = relations[len(relations) - len(operands) + 1 :]
        return list(zip(pairwise(operands), own, strict=True))

    def _near(self, left: Node, right: Node, relation: str) -> Verdict:
        """Return whether a step of a computation is sound; an approximation must agree within a percent."""
        if relation == "=":
            return self.equal(left, right)
        distance = Operation("abs", (_difference(left, right),))
        size = Operation("divide", (Operation("abs", (left,)), Number(Fraction(100))))
        order = self._scalars.order(distance, size)
        return None if order is None else order <= 0

    def _equal_chains(self, gold: Chain, answer: Chain) -> Verdict:
        relations = {*gold.relations, *answer.relations}
        if relations <= {"=", "approx"} and _is_head(gold.operands[0]) and _is_head(answer.operands[0]):
            if self._same_head(gold, answer):
                return self._equal_assignments(gold, answer)
            if len(gold.operands) == len(answer.operands) == 2 and _is_function(gold) and _is_function(answer):
                return self._equal_functions(gold, answer)
        if gold.relations == answer.relations == ("=",):
            return self._equal_equations(gold, answer)
        if gold.relations != answer.relations:
            return False
        return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))

    def _equal_assignments(self, gold: Chain, answer: Chain) -> Verdict:
        last = Chain((answer.operands[0], answer.operands[-1]), ("=",))
        if len(answer.operands) > 2:
            value = gold.operands[1] if len(gold.operands) == 2 else gold.operands[-1]
            return self._equal_value(answer, value)
        if len(gold.operands) > 2:
            return self._equal_value(gold, answer.operands[1])
        return any_of(
            [
                self.equal(gold.operands[-1], last.operands[1]),
                self._equal_equations(gold, answer) if names(gold.operands[0]) & names(gold.operands[-1]) else False,
            ]
        )

    def _same_head(self, gold: Node, answer: Node) -> bool:
        """Return whether two assignments have one name; a value without a name goes with any."""
        if not isinstance(gold, Chain) or not isinstance(answer, Chain):
            return True
        return gold.operands[0] == answer.operands[0]

    def _equal_functions(self, gold: Chain, answer: Chain) -> Verdict:
        """Compare f(x) = x^2 with f(t) = t^2: the arguments are bound."""
        one, other = gold.operands[0], answer.operands[0]
        if not isinstance(one, Application) or not isinstance(other, Application):
            return False
        if one.function != other.function or len(one.arguments) != len(other.arguments):
            return False
        values = [gold.operands[1], answer.operands[1]]
        pairs = list(zip(one.arguments, other.arguments, strict=True))
        if not all(isinstance(argument, Name) for pair in pairs for argument in pair):
            return False
        for at, pair in enumerate(pairs):
            values = [rename(value, getattr(name, "text", ""), Name(f"?{at}")) for value, name in zip(values, pair, strict=True)]
        return self.equal(*values)

    def _equal_equations(self, gold: Chain, answer: Chain) -> Verdict:
        """Compare equations: one is a multiple of the other, or solved for a name of it."""
        if any(isinstance(node, Bracketed | Matrix) for chain in (gold, answer) for node in chain.operands):
            return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))
        differences = [_difference(*chain.operands) for chain in (gold, answer)]
        if not names(differences[0]) and not names(differences[1]) and not _has_unknown_function(gold, answer):
            return all_of(self.equal(*pair) for pair in zip(gold.operands, answer.operands, strict=True))
        factor = self._scalars.proportional(*differences)
        if factor is None:
            return None
        return bool(factor) or any_of([self._is_solved(gold, differences[1]), self._is_solved(answer, differences[0])])

    def _is_solved(self, solved: Chain, difference: Node) -> Verdict:
        """Return whether `solved`, y = g(x), is the only solution for y of `difference` = 0, linear in y."""
        left, right = solved.operands
        if not isinstance(left, Name) or left.text in names(right) or left.text not in names(difference):
            return False
        if len(names(difference)) < 2:
            return False
        residual = rename(difference, left.text, right)
        values = [rename(difference, left.text, Number(Fraction(at))) for at in (0, 1, 2)]
        bend = _difference(_difference(values[2], values[1]), _difference(values[1], values[0]))
        zero = Number(Fraction(0))
        return all_of([self._scalars.equal(zero, bend), self._scalars.equal(zero, residual)])

    def _equal_bracketed(self, gold: Bracketed, answer: Bracketed) -> Verdict:
        brackets = (gold.opening + gold.closing, answer.opening + answer.closing)
        if brackets[0] != brackets[1] and (len(gold.items) == 2 or set(brackets) != {"()", "[]"}):
            return False
        if any(isinstance(item, Ellipsis) for item in (*gold.items, *answer.items)):
            return self._equal_with_dots(gold.items, answer.items)
        return self._in_order(gold.items, answer.items)

    def _equal_matrices(self, gold: Node, answer: Node) -> Verdict:
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

    def _equal_cases(self, gold: Node, answer: Node) -> Verdict:
        if not isinstance(gold, Cases) or not isinstance(answer, Cases):
            return False
        return self._match(
            [Bracketed("(", ")", row) for row in gold.rows],
            [Bracketed("(", ")", row) for row in answer.rows],
            self.equal,
        )

    def _equal_ratios(self, gold: Node, answer: Node) -> Verdict:
        parts = [node.parts if isinstance(node, Ratio) else (node, Number(Fraction(1))) for node in (gold, answer)]
        if len(parts[0]) != len(parts[1]):
            return False
        first = Operation("divide", (parts[0][0], parts[1][0]))
        return all_of(self._scalars.equal(first, Operation("divide", pair)) for pair in zip(*parts, strict=True))

    # Matching

    def _in_order(self, gold: Sequence[Node], answer: Sequence[Node]) -> Verdict:
        if len(gold) != len(answer):
            return False
        return all_of(
            isinstance(one, Ellipsis) and isinstance(other, Ellipsis)
            if isinstance(one, Ellipsis) or isinstance(other, Ellipsis)
            else self.equal(one, other)
            for one, other in zip(gold, answer, strict=True)
        )

    def _match(self, gold: Sequence[Node], answer: Sequence[Node], same: Callable[[Node, Node], Verdict]) -> Verdict:
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

    def _cover(self, gold: Sequence[Node], answer: Sequence[Node]) -> Verdict:
        """Return whether each element of one set occurs in the other, and conversely."""
        verdicts = [[self._equal_one(one, other) for other in answer] for one in gold]
        rows = [any_of(row) for row in verdicts]
        columns = [any_of(column) for column in zip(*verdicts, strict=True)]
        return all_of([*rows, *columns])


def _has_sign(node: Node) -> bool:
    return any(isinstance(one, Operation) and one.operator in ("plus_minus", "minus_plus") for one in walk(node))


def _split(node: Node) -> tuple[Node, tuple[Node, ...]]:
    return (node.core, node.conditions) if isinstance(node, Qualified) else (node, ())


def _integers(conditions: tuple[Node, ...]) -> list[str]:
    """Return the names that stand for integers by these conditions."""
    return [
        condition.operands[0].text
        for condition in conditions
        if isinstance(condition, Chain)
        and condition.relations == ("in",)
        and isinstance(condition.operands[0], Name)
        and condition.operands[1] in (Constant("Z"), Constant("N"), Constant("Z+"), Constant("Z>=0"))
    ]


def _may_be_omitted(condition: Node, core: Node) -> bool:
    """Return whether a condition is understood: k in Z for a parameter, n >= 1 for the index of a sequence."""
    if not isinstance(condition, Chain) or not isinstance(condition.operands[0], Name):
        return False
    name = condition.operands[0].text
    if name not in _PARAMETERS or len(condition.operands) != 2:
        return False
    if condition.operands[1] == Constant("Z") and condition.relations == ("in",):
        return True
    is_index = not isinstance(core, Chain) or name in "".join(
        getattr(node, "text", "") for node in walk(core.operands[0])
    )
    if isinstance(core, Chain | Builder | Listing) and not is_index:
        return False
    if condition.relations == ("in",):
        return condition.operands[1] in (Constant("N"), Constant("Z+"), Constant("Z>=0"))
    return condition.relations in ((">=",), (">",)) and isinstance(condition.operands[1], Number)


def _as_domain(condition: Node) -> Node:
    """Return n >= 1 as n in Z+, and n >= 0 likewise, for names that stand for integers."""
    match condition:
        case Chain((Name(text) as name, Number(value)), (">=" | ">" as relation,)) if text in _PARAMETERS:
            least = value + (relation == ">")
            if least in (0, 1):
                return Chain((name, Constant("Z+" if least else "Z>=0")), ("in",))
    return condition


def _is_domain(condition: Node) -> bool:
    return (
        isinstance(condition, Chain) and condition.relations == ("in",) and isinstance(condition.operands[1], Constant)
    )


def _share_exclusions(node: Node) -> Node:
    """Return x != 0, 1 as x != 0 and x != 1."""
    match node:
        case Listing((Chain((subject, _), ("!=",)) as first, *rest)) if not any(isinstance(one, Chain) for one in rest):
            return Listing((first, *(Chain((subject, one), ("!=",)) for one in rest)), "and")
    return node


def _is_python_list(node: Node, other: Node) -> bool:
    """Return whether `node` is a list of answers in square brackets, [1, 2, 3]. With two elements it is an interval,
    unless the gold answer is a list.
    """
    if not isinstance(node, Bracketed) or node.opening + node.closing != "[]":
        return False
    return len(node.items) > 2 and isinstance(other, Listing | Collection)


def _are_congruences(*nodes: Node) -> bool:
    return all(
        isinstance(node, Congruence)
        or (isinstance(node, Listing) and all(isinstance(item, Congruence) for item in node.items))
        for node in nodes
    )


def _is_set(node: Node) -> bool:
    """Return whether `node` is a set with more than finitely many elements, by its form."""
    match node:
        case Constant(name):
            return name in _REAL_CONSTANTS
        case Operation(operator):
            return operator in _SET_OPERATIONS
        case Builder():
            return True
        case Bracketed(opening, closing, items):
            return len(items) == 2 and opening + closing != "()"
        case Chain((_, inner), ("in" | "notin",)):
            return not isinstance(inner, Collection)
    return False


def _are_inequalities(node: Node) -> bool:
    match node:
        case Chain(_, relations):
            return bool(set(relations) & _INEQUALITIES)
        case Listing(items):
            return all(_are_inequalities(item) for item in items)
    return False


def _might_be_sets(gold: Node, answer: Node) -> bool:
    return all(
        _is_set(node) or _are_inequalities(node) or isinstance(node, Bracketed | Collection) for node in (gold, answer)
    )


def _is_builder(node: Node) -> bool:
    return isinstance(node, Builder)


def _is_operation(node: Node) -> bool:
    return isinstance(node, Operation)


def _flat(node: Node) -> list[Node]:
    if isinstance(node, Operation) and node.operator in ("union", "intersection"):
        return [
            part
            for operand in node.operands
            for part in (
                _flat(operand) if isinstance(operand, Operation) and operand.operator == node.operator else [operand]
            )
        ]
    return [node]


def _subject(node: Node) -> str | None:
    """Return the name whose values a set or inequality describes, if there is one."""
    match node:
        case Chain((Name(text), _), ("in" | "notin",)):
            return text
        case Chain():
            used = names(node)
            return next(iter(used)) if len(used) == 1 else None
        case Listing(items):
            subjects = {_subject(item) for item in items}
            return subjects.pop() if len(subjects) == 1 else None
    return None


def _pattern(builder: Builder) -> Node:
    match builder.pattern:
        case Chain((pattern, _), ("in",)):
            return pattern
    return builder.pattern


def _conditions(builder: Builder) -> list[Node]:
    """Return the conditions one by one, with the domain unless it is that of the real numbers."""
    own = builder.conditions
    found = list(own.items) if isinstance(own, Listing) and own.joiner != "or" else [own]
    if isinstance(builder.pattern, Chain):
        found.append(builder.pattern)
    return [one for one in found if not (isinstance(one, Chain) and one.operands[-1] == Constant("R"))]


def _names_in_order(node: Node) -> list[str]:
    match node:
        case Name(text):
            return [text]
        case Bracketed(_, _, items):
            return [text for item in items for text in _names_in_order(item)]
    return sorted(names(node))


def _atoms(node: Node) -> list[Node]:
    """Return the relations of a chain one by one, each with its smaller side on the left."""
    if isinstance(node, Listing):
        return [atom for item in node.items for atom in _atoms(item)]
    if not isinstance(node, Chain):
        return [node]
    found: list[Node] = []
    for (left, right), relation in zip(pairwise(node.operands), node.relations, strict=True):
        if relation in _FLIPPED:
            found.append(Chain((right, left), (_FLIPPED[relation],)))
        else:
            found.append(Chain((left, right), (relation,)))
    return found


def _difference(left: Node, right: Node) -> Node:
    return Operation("add", (left, Operation("negate", (right,))))


def _is_head(node: Node) -> bool:
    """Return whether a value may be assigned to `node`."""
    if isinstance(node, Name):
        return True
    if isinstance(node, Application):
        return all(isinstance(argument, Name | Number) for argument in node.arguments)
    if isinstance(node, Bracketed):
        return all(isinstance(item, Name) for item in node.items)
    if not isinstance(node, Operation):
        return False
    if node.operator == "multiply":  # the length AB
        return all(isinstance(one, Name) and one.text.isupper() for one in node.operands)
    return node.operator in ("abs", "sin", "cos", "tan") and isinstance(node.operands[0], Name)


def _is_label(node: Node) -> bool:
    """Return whether `node` names a quantity without any number: m + n, a/b, but not x + y, which is unknown."""
    used = names(node)
    if any(isinstance(one, Operation) and one.operator == "negate" for one in walk(node)):
        return False
    return not any(isinstance(one, Number | Constant) for one in walk(node)) and bool(used) and not used & set("xyz")


def _key(assignment: tuple[str, Node]) -> str:
    return assignment[0]


def _rename_argument(head: Application, value: Node, other: Node) -> Node:
    """Return the value of f(t) with the argument named as in `other`: an argument is bound."""
    used = sorted(names(other) - names(value))
    if len(head.arguments) == 1 and isinstance(head.arguments[0], Name) and len(used) == 1:
        if head.arguments[0].text not in names(other):
            return rename(value, head.arguments[0].text, Name(used[0]))
    return value


def _is_function(chain: Chain) -> bool:
    return isinstance(chain.operands[0], Application)


def _value_of(node: Node) -> Node | None:
    """Return the value of an assignment, or a scalar itself."""
    if isinstance(node, Chain):
        return node.operands[1] if node.relations == ("=",) and _is_head(node.operands[0]) else None
    return None if isinstance(node, Bracketed | Matrix | Collection | Listing) else node


def _has_unknown_function(*nodes: Node) -> bool:
    return any(isinstance(node, Application) for one in nodes for node in walk(one))


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Listing) else (node,)


def _tuple_items(node: Node) -> tuple[Node, ...]:
    match node:
        case Bracketed("(", ")", items):
            return items
        case Chain((Bracketed(), Bracketed("(", ")", items)), ("=",)):
            return items
        case Listing(items, ",") if not any(isinstance(item, Chain | Bracketed | Ellipsis) for item in items):
            return items
    return ()


def _ordered_values(node: Node, other: Node) -> tuple[Node, ...]:
    """Return the values of x = 1, y = 2 in the order of the names, or of a tuple, if `other` gives them as a tuple."""
    found = assignments(node)
    if found is None:
        is_tuple = isinstance(node, Bracketed) and node.opening + node.closing == "()"
        listed = (
            isinstance(other, Listing)
            and other.joiner == ","
            and not any(isinstance(item, Chain | Bracketed) for item in other.items)
        )
        return _tuple_items(node) if is_tuple and listed else ()
    if is_of_one_unknown(_items(node)) or assignments(other):
        return ()
    return tuple(value for _, value in found) if _tuple_items(other) else ()


def undefined(node: Node, scalars: ExpressionEquality) -> bool:
    """Return whether a scalar without names has no value."""
    try:
        return scalars.equal(node, node) is False
    except UndefinedError:
        return True
