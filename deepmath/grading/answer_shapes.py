"""Shapes of answers: what a tree is, and the parts that a comparison takes it apart into."""

from itertools import pairwise

from deepmath.grading.answer_nodes import (
    Application,
    Bracketed,
    Builder,
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
    Ratio,
    names,
    rename,
    walk,
)
from deepmath.grading.answer_rewriting import assignments, is_of_one_unknown

_PARAMETERS = frozenset("knmlN")
_SET_OPERATIONS = frozenset({"union", "intersection", "difference"})
_REAL_CONSTANTS = frozenset({"R", "R+", "R>=0", "R-"})
_INEQUALITIES = frozenset({"<", ">", "<=", ">=", "!="})
_FLIPPED = {">": "<", ">=": "<="}


def has_sign(node: Node) -> bool:
    return any(isinstance(one, Operation) and one.operator in ("plus_minus", "minus_plus") for one in walk(node))


def split_conditions(node: Node) -> tuple[Node, tuple[Node, ...]]:
    return (node.core, node.conditions) if isinstance(node, Qualified) else (node, ())


def integer_names(conditions: tuple[Node, ...]) -> list[str]:
    """Return the names that stand for integers by these conditions."""
    return [
        condition.operands[0].text
        for condition in conditions
        if isinstance(condition, Chain)
        and condition.relations == ("in",)
        and isinstance(condition.operands[0], Name)
        and condition.operands[1] in (Constant("Z"), Constant("N"), Constant("Z+"), Constant("Z>=0"))
    ]


def may_be_omitted(condition: Node, core: Node) -> bool:
    """Return whether a condition is understood: k in Z for a parameter, n >= 1 for the index of a sequence."""
    if not isinstance(condition, Chain) or not isinstance(condition.operands[0], Name):
        return False
    name = condition.operands[0].text
    if name not in _PARAMETERS or len(condition.operands) != 2:
        return False
    if condition.operands[1] == Constant("Z") and condition.relations == ("in",):
        return True
    is_index = (
        not isinstance(core, Chain)
        or isinstance(core.operands[0], Application)
        or name in "".join(getattr(node, "text", "") for node in walk(core.operands[0]))
    )
    if isinstance(core, Chain | Builder | Listing) and not is_index:
        return False
    if condition.relations == ("in",):
        return condition.operands[1] in (Constant("N"), Constant("Z+"), Constant("Z>=0"))
    return condition.relations in ((">=",), (">",)) and isinstance(condition.operands[1], Number)


def as_domain(condition: Node) -> Node:
    """Return n >= 1 as n in Z+, and n >= 0 likewise, for names that stand for integers."""
    match condition:
        case Chain((Name(text) as name, Number(value)), (">=" | ">" as relation,)) if text in _PARAMETERS:
            least = value + (relation == ">")
            if least in (0, 1):
                return Chain((name, Constant("Z+" if least else "Z>=0")), ("in",))
    return condition


def is_domain(condition: Node) -> bool:
    return (
        isinstance(condition, Chain) and condition.relations == ("in",) and isinstance(condition.operands[1], Constant)
    )


def share_exclusions(node: Node) -> Node:
    """Return x != 0, 1 as x != 0 and x != 1."""
    match node:
        case Listing((Chain((subject, _), ("!=",)) as first, *rest)) if not any(isinstance(one, Chain) for one in rest):
            return Listing((first, *(Chain((subject, one), ("!=",)) for one in rest)), "and")
    return node


def is_python_list(node: Node, other: Node) -> bool:
    """Return whether `node` is a list of answers in square brackets, [1, 2, 3]; with two elements it is an interval."""
    if not isinstance(node, Bracketed) or node.opening + node.closing != "[]":
        return False
    return len(node.items) > 2 and isinstance(other, Listing | Collection)


def are_congruences(*nodes: Node) -> bool:
    return all(
        isinstance(node, Congruence)
        or (isinstance(node, Listing) and all(isinstance(item, Congruence) for item in node.items))
        for node in nodes
    )


def is_set(node: Node) -> bool:
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


def are_inequalities(node: Node) -> bool:
    match node:
        case Chain(_, relations):
            return bool(set(relations) & _INEQUALITIES)
        case Listing(items):
            return all(are_inequalities(item) for item in items)
    return False


def might_be_sets(gold: Node, answer: Node) -> bool:
    return all(
        is_set(node) or are_inequalities(node) or isinstance(node, Bracketed | Collection) for node in (gold, answer)
    )


def is_builder(node: Node) -> bool:
    return isinstance(node, Builder)


def is_operation(node: Node) -> bool:
    return isinstance(node, Operation)


def flat_operands(node: Node) -> list[Node]:
    if isinstance(node, Operation) and node.operator in ("union", "intersection"):
        return [
            part
            for operand in node.operands
            for part in (
                flat_operands(operand)
                if isinstance(operand, Operation) and operand.operator == node.operator
                else [operand]
            )
        ]
    return [node]


def subject_of(node: Node) -> str | None:
    """Return the name whose values a set or inequality describes, if there is one."""
    match node:
        case Chain((Name(text), _), ("in" | "notin",)):
            return text
        case Chain():
            used = names(node)
            return next(iter(used)) if len(used) == 1 else None
        case Listing(items):
            subjects = {subject_of(item) for item in items}
            return subjects.pop() if len(subjects) == 1 else None
    return None


def pattern_of(builder: Builder) -> Node:
    match builder.pattern:
        case Chain((pattern, _), ("in",)):
            return pattern
    return builder.pattern


def conditions_of(builder: Builder) -> list[Node]:
    """Return the conditions one by one, with the domain unless it is that of the real numbers."""
    own = builder.conditions
    found = list(own.items) if isinstance(own, Listing) and own.joiner != "or" else [own]
    if isinstance(builder.pattern, Chain):
        found.append(builder.pattern)
    return [one for one in found if not (isinstance(one, Chain) and one.operands[-1] == Constant("R"))]


def names_in_order(node: Node) -> list[str]:
    match node:
        case Name(text):
            return [text]
        case Bracketed(_, _, items):
            return [text for item in items for text in names_in_order(item)]
    return sorted(names(node))


def atoms_of(node: Node) -> list[Node]:
    """Return the relations of a chain one by one, each with its smaller side on the left."""
    if isinstance(node, Listing):
        return [atom for item in node.items for atom in atoms_of(item)]
    if not isinstance(node, Chain):
        return [node]
    found: list[Node] = []
    for (left, right), relation in zip(pairwise(node.operands), node.relations, strict=True):
        if relation in _FLIPPED:
            found.append(Chain((right, left), (_FLIPPED[relation],)))
        else:
            found.append(Chain((left, right), (relation,)))
    return found


def difference(left: Node, right: Node) -> Node:
    return Operation("add", (left, Operation("negate", (right,))))


def is_head(node: Node) -> bool:
    """Return whether a value may be assigned to `node`."""
    if isinstance(node, Name):
        return True
    if isinstance(node, Application):
        return all(isinstance(argument, Name | Number) for argument in node.arguments)
    if isinstance(node, Bracketed):
        return all(isinstance(item, Name) for item in node.items)
    if isinstance(node, Ratio):
        return all(isinstance(part, Name) for part in node.parts)
    if not isinstance(node, Operation):
        return False
    if node.operator == "divide":
        return all(isinstance(part, Name) for part in node.operands)
    if node.operator == "multiply":  # the length AB
        return all(isinstance(one, Name) and one.text.isupper() for one in node.operands)
    return node.operator in ("abs", "sin", "cos", "tan", "re", "im") and isinstance(node.operands[0], Name)


def is_label(node: Node) -> bool:
    """Return whether `node` names a quantity without any number: m + n, a/b, but not x + y, which is unknown."""
    used = names(node)
    if any(isinstance(one, Operation) and one.operator == "negate" for one in walk(node)):
        return False
    return not any(isinstance(one, Number | Constant) for one in walk(node)) and bool(used) and not used & set("xyz")


def rename_argument(head: Application, value: Node, other: Node) -> Node:
    """Return the value of f(t) with the argument named as in `other`: an argument is bound."""
    used = sorted(names(other) - names(value))
    bound = head.arguments[0]
    if len(head.arguments) != 1 or not isinstance(bound, Name) or len(used) != 1 or bound.text in names(other):
        return value
    return rename(value, bound.text, Name(used[0]))


def is_function(chain: Chain) -> bool:
    return isinstance(chain.operands[0], Application)


def value_of(node: Node) -> Node | None:
    """Return the value of an assignment, or a scalar itself."""
    if isinstance(node, Chain):
        return node.operands[1] if node.relations == ("=",) and is_head(node.operands[0]) else None
    return None if isinstance(node, Bracketed | Matrix | Collection | Listing) else node


def has_unknown_function(*nodes: Node) -> bool:
    return any(isinstance(node, Application) for one in nodes for node in walk(one))


def items_of(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Listing) else (node,)


def tuple_items(node: Node) -> tuple[Node, ...]:
    match node:
        case Bracketed("(", ")", items):
            return items
        case Chain((Bracketed(_, _, heads), Bracketed("(", ")", items)), ("=",)) if len(heads) == len(items):
            return items
        case Listing(items, ",") if not any(isinstance(item, Chain | Bracketed | Ellipsis) for item in items):
            return items
    return ()


def ordered_values(node: Node, other: Node) -> tuple[Node, ...]:
    """Return the values of x = 1, y = 2 in the order of the names, or of a tuple, if `other` gives them as a tuple."""
    found = assignments(node)
    if found is None:
        is_tuple = isinstance(node, Bracketed) and node.opening + node.closing == "()"
        listed = (
            isinstance(other, Listing)
            and other.joiner == ","
            and not any(isinstance(item, Chain | Bracketed) for item in other.items)
        )
        return tuple_items(node) if is_tuple and listed else ()
    if is_of_one_unknown(items_of(node)) or assignments(other):
        return ()
    return tuple(value for _, value in found) if tuple_items(other) else ()


def have_same_head(gold: Node, answer: Node) -> bool:
    """Return whether two assignments have one name; a value without a name goes with any."""
    if not isinstance(gold, Chain) or not isinstance(answer, Chain):
        return True
    heads = gold.operands[0], answer.operands[0]
    functions = {head.function if isinstance(head, Application) else getattr(head, "text", "") for head in heads}
    one_is_bare = isinstance(heads[0], Application) != isinstance(heads[1], Application)
    return heads[0] == heads[1] or (one_is_bare and len(functions) == 1)


def is_list(node: Node) -> bool:
    """Return whether `node` lists values, not conditions."""
    return isinstance(node, Listing) and not any(are_inequalities(item) for item in node.items)


def link_equations(node: Node) -> Node:
    """Return a = b, b = c as a = b = c; x = y = 1 as x = 1, y = 1; and {a, b} = {1, 2} as the set of values."""
    match node:
        case Chain((Collection(heads), Collection() as values), ("=",)) if all(isinstance(one, Name) for one in heads):
            return values
        case Chain(operands, relations) if "equiv" in relations and set(relations) <= {
            "=",
            "equiv",
        }:  # f = 0 everywhere
            return Chain(operands, ("=",) * len(relations))
        case Chain(operands, relations) if len(operands) > 2 and set(relations) == {"="}:
            *unknowns, value = operands
            if all(isinstance(one, Name) for one in unknowns) and not names(value):
                return Listing(tuple(Chain((one, value), ("=",)) for one in unknowns), ",")
        case Listing(items) if all(isinstance(item, Chain) and item.relations == ("=",) for item in items):
            sides = [item.operands for item in items if isinstance(item, Chain)]
            if all(earlier[1] == later[0] for earlier, later in pairwise(sides)):
                return Chain((sides[0][0], *(side[1] for side in sides)), ("=",) * len(sides))
    return node


def is_over_integers(node: Node) -> bool:
    """Return whether `node` is a set of integers, by conditions on a name that stands for integers anyway."""
    match node:
        case Builder(Chain((Name(text), Constant("Z")), ("in",))):
            return text in _PARAMETERS
    return False
