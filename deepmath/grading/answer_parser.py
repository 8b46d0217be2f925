r"""Parser of whole answers: lists, relations, sets, congruences and the conditions on their variables.

Grammar, on top of expressions:

    answer     = [for all CONDITIONS ,] list [for CONDITIONS]
    list       = item {(, | ; | and | or) item}
    item       = expression {RELATION expression} [(mod expression)]
    conditions = names in a set of numbers, or items
"""

import re

from deepmath.grading.answer_nodes import (
    Builder,
    Chain,
    Collection,
    Congruence,
    Constant,
    Listing,
    Name,
    Node,
    Operation,
    Qualified,
    Ratio,
    names,
)
from deepmath.grading.answer_normalization import MAX_CHARACTERS, TEXT_MACRO
from deepmath.grading.answer_tokens import UnreadableError
from deepmath.grading.expression_parser import ExpressionParser

NUMBER_SETS = frozenset({"R", "Z", "N", "Q", "C", "Z+", "Z>=0", "R+", "R>=0", "Q+", "Z-", "R-"})
_SIGNED_SETS = {
    "Z^+": "Z+", "Z+": "Z+", "Z>0": "Z+", "Z*+": "Z+", "N+": "Z+", "N*": "Z+", "N>0": "Z+", "N0": "Z>=0",
    "Z>=0": "Z>=0", "Z+0": "Z>=0", "R+": "R+", "R>0": "R+", "R>=0": "R>=0", "Q+": "Q+", "Q>0": "Q+", "Z-": "Z-",
    "R-": "R-",
}  # fmt: skip
_SETS_OF_WORDS = frozenset({"Z", "N", "Q", "R", "C", "number", "positive", "nonnegative"})
# 1,234 is a number where it is all there is, after a sign of equality, or in the argument of a command.
_THOUSANDS = re.compile(
    r"(^|[=$]\s*|\\approx\s*|(?<!\\)\{\s*)([+-]?[1-9]\d{0,2}(?:,\d{3})+(?!\d)(?:\.\d+)?)(?=\s*(?:$|\}|\\text|\\%|\\mathrm|[A-Za-z]))"
)
# The imaginary unit and Euler's number in sympy's spelling: 4*I, E**2.
_PYTHON_CONSTANT = re.compile(
    r"(?<=\*)\s*I(?![A-Za-z_])|(?<![A-Za-z_])I(?=\s*\*)|(?<![A-Za-z_])E(?=\s*\*)|(?<=\*)\s*E(?![A-Za-z_])"
)
# A quantity in words before its value: \text{Area} = 12, area = 12.
_LABEL = re.compile(rf"(?:{TEXT_MACRO}\{{([A-Za-z ]+)\}} ?[=:]|([A-Za-z]{{4,20}}) ?=)(.*)", re.DOTALL)
_PROBABILITY = re.compile(r"\s*(?:P|\\Pr|E|\\mathbb\{[PE]\})\s*[(\[][^=()]*\|[^=()]*[)\]]\s*=([^=]*)", re.DOTALL)
# Intervals in the French notation.
_OPEN_BRACKETS = re.compile(r"(?:^|(?<=[\s=n]))\]([^\[\](),]*,[^\[\](),]*)\[")


def parse_answer(text: str) -> Node | None:
    """Return the tree of `text`, which is normalized, or None if it is not in the grammar."""
    if not text or len(text) > MAX_CHARACTERS:
        return None
    if "\\" not in text and "*" in text:
        text = _PYTHON_CONSTANT.sub(lambda found: found[0].lower(), text)
    text = _THOUSANDS.sub(lambda found: found[1] + found[2].replace(",", ""), text)
    if _is_bare_set(text):
        text = rf"\{{{text[1:-1]}\}}"
    if (found := _LABEL.fullmatch(text)) and (value := _labelled_value(found[3].strip())) is not None:
        label = Name(f"\\text {(found[1] or found[2]).strip().casefold()}")
        return value if isinstance(value, Chain) else Chain((label, value), ("=",))
    if found := _PROBABILITY.fullmatch(text):
        text = f"P_{{p}} = {found[1]}"
    try:
        return _AnswerParser(_OPEN_BRACKETS.sub(r"(\1)", text)).answer()
    except (UnreadableError, RecursionError):  # functions without parentheses nest too
        return None


def _labelled_value(text: str) -> Node | None:
    return None if _LABEL.fullmatch(text) else parse_answer(text)  # one label: many would be parsed again and again


def _is_bare_set(text: str) -> bool:
    """Return whether braces around the whole text hold a list or a condition, as in Python: {1, 2}, {x | x > 0}."""
    if not (text.startswith("{") and text.endswith("}")):
        return False
    depth, brackets, divided = 0, 0, False
    for at, character in enumerate(text):
        if character in "{}" and text[at - 1 : at] != "\\":
            depth += 1 if character == "{" else -1
        if not depth and at < len(text) - 1:
            return False
        brackets += (character in "([") - (character in ")]")
        divided = divided or (depth == 1 and not brackets and (character in ",|:" or text.startswith("\\mid", at)))
    return divided


class _AnswerParser(ExpressionParser):
    _in_pattern = False
    _subject: Node = Name("")

    def answer(self) -> Node:
        """Parse the whole text.

        Raises:
            UnreadableError: It is not an answer.
        """
        conditions: list[Node] = []
        if self._at_word("given") or self._starts_for_all():
            conditions = self._conditions(stop_at_comma=True)
        core = self._listing()
        while self._at_word("given"):
            conditions += self._conditions()
        if self.token.kind != "stop":
            raise UnreadableError(f"an unexpected {self.token.text!r}")
        core, members = _split_memberships(core)
        conditions = [condition for condition in (*conditions, *members) if not _is_trivial(condition)]
        return Qualified(core, tuple(conditions)) if conditions else core

    # Words

    def _at_word(self, *meanings: str) -> bool:
        return self.token.kind == "word" and self.token.text in meanings

    def _starts_for_all(self) -> bool:
        at = self.at
        while self.tokens[at].kind == "word" and self.tokens[at].text == "filler":
            at += 1
        return at > self.at and self.tokens[at][:2] == ("word", "given")

    def _skip_words(self, *meanings: str) -> None:
        while self._at_word(*meanings):
            self.at += 1

    def _number_set_in_words(self) -> Constant:
        """Parse `positive integers`, `real numbers` and the like."""
        sign = base = ""
        while self._at_word(*_SETS_OF_WORDS, "filler"):
            word = self.token.text
            if word in ("positive", "nonnegative"):
                sign = "+" if word == "positive" else ">=0"
            elif word not in ("number", "filler"):
                base = word
            self.at += 1
        return Constant(_signed_set((base or "R") + sign))

    # Lists

    def _listing(self) -> Node:
        items, joiners = [self._item()], []
        while joiner := self._joiner():
            if self._at_word("given") or self.token.kind == "stop":
                break
            joiners.append(joiner)
            items.append(self._item())
        if len(items) == 1:
            return items[0]
        if systems := _systems(items, joiners):
            return systems
        words = set(joiners) & {"and", "or"}
        if len(words) > 1:
            raise UnreadableError("`and` and `or` in one list")
        return Listing(tuple(_share_parts(items)), words.pop() if words else ",")

    def _joiner(self) -> str:
        """Skip what separates two items, and return it; empty if there is nothing."""
        found = ""
        while True:
            if self.take(",", ";", "\\\\"):
                found = found or ","
            elif self._at_word("and", "or"):
                found = self.token.text
                self.at += 1
            else:
                return found

    def _item(self) -> Node:
        self._skip_words("filler")
        item = self.element()
        if self.next_is("(") and self._parenthesis_is_condition():
            self.at += 1
            self._skip_words("given", "filler")
            condition = self._condition_list(")")
            self.require(")")
            return Qualified(item, tuple(one for one in condition if not _is_trivial(one)))
        return item

    def element(self) -> Node:
        """Parse relations in a row, after words such as `all integers`."""
        if domain := self._named_domain():
            found = self._relations()
            if isinstance(found, Name):
                return Chain((found, domain), ("in",))
            return (
                found if isinstance(found, Congruence) else Qualified(found, (Chain((self._subject, domain), ("in",)),))
            )
        return self._relations()

    def _named_domain(self) -> Constant | None:
        """Skip `all integers` before a name, and return the set."""
        start = self.at
        if self._at_word(*_SETS_OF_WORDS, "filler"):
            domain = self._number_set_in_words()
            if self.token.kind == "name" and self._has_set_words(start):
                self._subject = Name(self.token.text)
                return domain
            self.at = start
        return None

    def _has_set_words(self, start: int) -> bool:
        return any(token.text in _SETS_OF_WORDS for token in self.tokens[start : self.at])

    def _relations(self) -> Node:
        operands, relations = [self._operand()], []
        while True:
            if self.token.kind == "relation":
                relations.append(self.token.text)
                self.at += 1
                operands.append(self._operand())
            elif self._at_word("in"):
                relations.append("in")
                self.at += 1
                operands.append(self._operand())
            elif self._at_word("filler", *_SETS_OF_WORDS) and self._is_membership():
                relations.append("in")
                operands.append(self._number_set_in_words())
            else:
                break
        if modulus := self._modulus():
            return _congruence(operands, relations, modulus)
        return Chain(tuple(operands), tuple(relations)) if relations else operands[0]

    def _operand(self) -> Node:
        if self._at_word(*_SETS_OF_WORDS, "filler"):
            found: Node = self._number_set_in_words()
            if self._at_word("except"):
                self.at += 1
                excluded = self._listing()
                items = excluded.items if isinstance(excluded, Listing) else (excluded,)
                found = Operation("difference", (found, Collection(items)))
            elif self.token.kind == "name":
                found = Chain((self._atom(), found), ("in",))
            return found
        first = self.set_expression()
        if self._in_pattern or not self.next_is(":"):
            return first
        parts = [first]
        while self.take(":"):
            parts.append(self.sum())
        return Ratio(tuple(parts))

    def _is_membership(self) -> bool:
        """Return whether words such as `is an integer` follow."""
        at = self.at
        while self.tokens[at].kind == "word" and self.tokens[at].text in ("filler", *_SETS_OF_WORDS):
            if self.tokens[at].text != "filler":
                return True
            at += 1
        return False

    def _modulus(self) -> Node | None:
        in_parenthesis = self.next_is("(") and self.tokens[self.at + 1][:2] == ("word", "mod")
        if in_parenthesis:
            self.at += 1
        if not self._at_word("mod"):
            return None
        self.at += 1
        found = self.sum()
        if in_parenthesis:
            self.require(")")
        return found

    # Conditions

    def _parenthesis_is_condition(self) -> bool:
        """Return whether the parenthesis that starts here contains a relation or words."""
        depth = 0
        for kind, text, _ in self.tokens[self.at :]:
            depth += (text in ("(", "[", r"\{")) - (text in (")", "]", r"\}")) if kind in ("symbol", "command") else 0
            if depth == 1 and (kind == "relation" or (kind == "word" and text not in ("and", "or"))):
                return True
            if depth <= 0:
                return False
        return False

    def _starts_factor(self, left: Node) -> bool:
        if self.next_is("(") and self._parenthesis_is_condition():
            return False
        return super()._starts_factor(left)

    def _conditions(self, stop_at_comma: bool = False) -> list[Node]:
        self._skip_words("given", "filler")
        found = self._condition_list("", stop_at_comma)
        if stop_at_comma and not self.take(",", ":"):
            raise UnreadableError("conditions without an answer")
        return found

    def _condition_list(self, closing: str, stop_at_comma: bool = False) -> list[Node]:
        """Parse conditions up to `closing`. Names before a membership share it: x, y in R."""
        found: list[Node] = []
        waiting: list[Node] = []
        while True:
            self._skip_words("given", "filler")
            self._in_pattern = stop_at_comma
            condition = self.element()
            self._in_pattern = False
            self._skip_words("filler")
            if isinstance(condition, Name):
                waiting.append(condition)
            else:
                found += [_with_subject(condition, name) for name in waiting] + [condition]
                waiting = []
            if (
                self.token.kind == "stop"
                or self.next_is(closing)
                or (stop_at_comma and (found or not self.next_is(",")))
            ):
                break
            if stop_at_comma and waiting and not self._more_names():
                break
            if not self._joiner() and not self._at_word("given"):
                raise UnreadableError("an unexpected token in a condition")
            if self.token.kind == "stop":
                break
        return found

    def _more_names(self) -> bool:
        """Return whether names with a membership follow the comma: for all x, y in R, ..."""
        at = self.at
        while self.tokens[at].text == "," and self.tokens[at + 1].kind == "name":
            at += 2
        return at > self.at and self.tokens[at].text == "in"

    # Sets and cases

    def _set(self) -> Node:
        if not self._builder_mark():
            return super()._set()
        bars, self._bars = self._bars, 1  # the bar ends the pattern
        self._in_pattern = True
        pattern = self.element()
        self._in_pattern = False
        self._bars = 0
        self.require(":", "|", r"\mid", r"\vert")
        self._skip_words("given", "filler")
        conditions = self._listing()
        while self._at_word("given"):
            extra = self._conditions()
            own = conditions.items if isinstance(conditions, Listing) else (conditions,)
            conditions = Listing((*own, *extra), "and")
        self._bars = bars
        self.require(r"\}")
        return Builder(pattern, conditions)

    def _builder_mark(self) -> bool:
        """Return whether a bar or colon divides the set that starts here."""
        depth = 0
        for at, (kind, text, _) in enumerate(self.tokens[self.at :]):
            if kind in ("symbol", "command"):
                depth += (text in ("(", "[", "{", r"\{")) - (text in (")", "]", "}", r"\}"))
                if depth < 0:
                    return False
                if depth == 0 and at and text in (":", "|", r"\mid", r"\vert"):
                    return self.tokens[self.at].text != "|"
        return False

    def cell(self) -> Node:
        """Parse a cell of a matrix, or a value or condition of a case."""
        self._skip_words("given", "filler")
        if self.token.kind == "text":
            self.at += 1
            return Name(f"\\text {self.tokens[self.at - 1].text.casefold()}")
        found = self.element()
        self.take(",")
        self._skip_words("given", "filler")
        return found

    def _number_set(self) -> Node:
        found = super()._number_set()
        return Constant(_signed_set(found.name)) if isinstance(found, Constant) else found

    def _atom(self) -> Node:
        if self.token[:2] == ("word", "filler"):
            self._skip_words("filler")
        return super()._atom()


def _signed_set(name: str) -> str:
    if name in NUMBER_SETS:
        return name
    if name not in _SIGNED_SETS:
        raise UnreadableError("an unknown set of numbers")
    return _SIGNED_SETS[name]


def _congruence(operands: list[Node], relations: list[str], modulus: Node) -> Node:
    if not relations:
        return Congruence(None, operands[0], modulus)
    if len(relations) > 1 or relations[0] not in ("=", "equiv"):
        raise UnreadableError("a modulus after other relations")
    return Congruence(operands[0], operands[1], modulus)


def _systems(items: list[Node], joiners: list[str]) -> Node | None:
    """Return several solutions of a system, x = 1, y = 2 or x = 3, y = 4, as a list of lists; None if it is none."""
    groups: list[list[Node]] = [[items[0]]]
    for item, joiner in zip(items[1:], joiners, strict=True):
        if joiner == "or":
            groups.append([])
        groups[-1].append(item)
    heads = [[item.operands[0] for item in group if isinstance(item, Chain)] for group in groups]
    if (
        len(groups) < 2
        or len(heads[0]) < 2
        or any(len(head) != len(group) for head, group in zip(heads, groups, strict=True))
    ):
        return None
    if any(len(set(map(repr, head))) != len(head) for head in heads):
        return None
    return Listing(tuple(Listing(tuple(group), ",") for group in groups), "or")


def _share_parts(items: list[Node]) -> list[Node]:
    r"""Complete congruences whose modulus follows the last one: x \equiv 1, 4 \pmod 5."""
    last = items[-1]
    if not isinstance(last, Congruence) or last.modulus is None:
        return items
    found: list[Node] = []
    subject: Node | None = None
    for item in items:
        completed = item
        if isinstance(item, Chain) and item.relations in (("equiv",), ("=",)):
            subject = item.operands[0]
            completed = Congruence(subject, item.operands[1], last.modulus)
        elif isinstance(item, Congruence):
            subject = item.subject or subject
            completed = Congruence(subject, item.residue, item.modulus)
        elif not isinstance(item, Chain | Qualified):
            completed = Congruence(subject, item, last.modulus)
        found.append(completed)
    return found


def _split_memberships(core: Node) -> tuple[Node, list[Node]]:
    """Return an answer without `k in Z` and the like at its end, and these conditions."""
    if isinstance(core, Qualified):
        return core.core, list(core.conditions)
    if not isinstance(core, Listing):
        return core, []
    items, conditions = list(core.items), []
    while len(items) > 1 and _is_membership(items[-1]):
        conditions.append(items.pop())
    while len(items) > 1 and isinstance(items[-1], Name) and conditions:  # x = 2k + 3m, k, m in Z
        conditions.append(_with_subject(conditions[-1], items.pop()))
    while (
        len(items) > 1 and _is_restriction(items[-1]) and isinstance(items[0], Chain) and items[0].relations == ("=",)
    ):
        conditions.append(items.pop())
    if len(items) > 1 and isinstance(items[-1], Qualified):
        last = items.pop()
        assert isinstance(last, Qualified)
        items.append(last.core)
        conditions += last.conditions
    return (items[0] if len(items) == 1 else Listing(tuple(items), core.joiner)), conditions


def _is_restriction(node: Node) -> bool:
    return isinstance(node, Chain) and bool(set(node.relations) & {"<", ">", "<=", ">=", "!="})


def _is_membership(node: Node) -> bool:
    return (
        isinstance(node, Chain)
        and node.relations == ("in",)
        and isinstance(node.operands[0], Name)
        and isinstance(node.operands[1], Constant)
        and node.operands[1].name in NUMBER_SETS
    )


def _with_subject(condition: Node, subject: Node) -> Node:
    if isinstance(condition, Chain):
        return Chain((subject, *condition.operands[1:]), condition.relations)
    return condition


def _is_trivial(condition: Node) -> bool:
    """Return whether a condition says nothing: every variable is a real number unless something else is said."""
    return (
        _is_membership(condition) and condition.operands[1] == Constant("R")
        if isinstance(condition, Chain)
        else (not names(condition))
    )
