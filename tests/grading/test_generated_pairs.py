"""Generated pairs, equal or unequal by construction: random values and structures in random spellings."""

# ruff: noqa: RUF001, E501 -- look-alike characters are what some spellings are about; spellings are tables

from fractions import Fraction
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .comparison_in_process import decide
from .expression_trees import (
    Tree,
    changed,
    count_numbers,
    rational_spellings,
    surely_differ,
    trees,
)

bounded = settings(max_examples=40, deadline=None, derandomize=True)
fractions = st.fractions(min_value=-999, max_value=999, max_denominator=60)
small = st.integers(-9, 9)
STYLES = ("latex", "python", "unicode")


def check(gold: str, answer: str, verdict: bool) -> None:
    assert decide(gold, answer) is verdict, (gold, answer)
    assert decide(answer, gold) is verdict, (answer, gold)


@bounded
@given(fractions, st.data())
def test_spellings_of_a_fraction_are_equal(value: Fraction, data: st.DataObject) -> None:
    one, other = (data.draw(st.sampled_from(rational_spellings(value))) for _ in range(2))
    check(one, other, True)


@bounded
@given(
    fractions, st.sampled_from([Fraction(1, 10**at) for at in (1, 2, 3, 30)] + [Fraction(1, 7), Fraction(1)]), st.data()
)
def test_other_fractions_are_unequal(value: Fraction, change: Fraction, data: st.DataObject) -> None:
    assume(value + change != 0 and abs(value) != abs(value + change))
    one, other = (data.draw(st.sampled_from(rational_spellings(each))) for each in (value, value + change))
    check(one, other, False)


@bounded
@given(trees(), st.sampled_from(STYLES), st.sampled_from(STYLES))
def test_expression_is_equal_in_any_style(tree: Tree, one: str, other: str) -> None:
    assume(surely_differ(tree, Tree("add", (tree, Tree("number", value=1)))))  # defined and real
    check(getattr(tree, one)(), getattr(tree.commuted(), other)(), True)


@bounded
@given(trees(), st.integers(0, 10), st.sampled_from(STYLES), st.sampled_from(STYLES))
def test_expression_with_another_number_is_unequal(tree: Tree, at: int, one: str, other: str) -> None:
    assume(count_numbers(tree))
    mutant = changed(tree, at % count_numbers(tree))
    assume(surely_differ(tree, mutant))
    check(getattr(tree, one)(), getattr(mutant, other)(), False)


WRAPPINGS = [
    "{}", "({}, 3)", r"\{{{}, 5\}}", "[{}, 10^9]", "x = {}", r"x > {}", r"(-\infty, {}]", "y = {}x + 1", "f(x) = x^2 + {}",
    r"\begin{{pmatrix}} {} \\ 2 \end{{pmatrix}}", "{}, -7", r"{}\sqrt{{2}}", r"\sqrt2 + {}", "x + {}", "{}x", r"1 - {}",
    r"\frac{{1}}{{{}}}", "({0}, {0})", r"\{{x \mid x > {}\}}", r"2 + i \cdot {}", r"e^{{{}}}", r"|x| = {}", "a_1 + {}",
]  # fmt: skip


@bounded
@given(
    st.sampled_from(WRAPPINGS),
    st.integers(2, 9),
    st.sampled_from([8, 17, 40, 330, 1100]),
    st.sampled_from(["{}^{{-{}}}", r"\frac{{1}}{{{}^{{{}}}}}", r"\frac{{3}}{{{}^{{{}}}}}"]),
)
def test_tiny_factor_counts_in_any_structure(wrapping: str, base: int, exponent: int, form: str) -> None:
    gold = wrapping.format(form.format(base, exponent))
    for other_base, other_exponent in ((base, exponent + 1), (base + 1, exponent)):
        check(gold, wrapping.format(form.format(other_base, other_exponent)), False)
    check(gold, wrapping.format("0"), False) if "frac{{1}}{{{}" not in wrapping else None


@bounded
@given(st.sampled_from(WRAPPINGS), fractions, st.data())
def test_spelling_counts_in_no_structure(wrapping: str, value: Fraction, data: st.DataObject) -> None:
    assume(value > 0)
    plain = [text for text in rational_spellings(value) if "x" not in text and "$" not in text and "," not in text]
    one, other = (data.draw(st.sampled_from(plain)) for _ in range(2))
    wrapped = (wrapping.format(rf"\left({text}\right)") for text in (one, other))
    assert decide(*wrapped) is True


@bounded
@given(st.lists(small, min_size=1, max_size=4), st.integers(1, 3), st.data())
def test_polynomial_is_equal_however_it_is_written(roots: list[int], factor: int, data: st.DataObject) -> None:
    coefficients = [factor]
    for root in roots:
        coefficients = [up - root * down for up, down in zip([*coefficients, 0], [0, *coefficients], strict=True)]
    degree = len(roots)
    terms = [f"({value})x^{{{degree - at}}}" for at, value in enumerate(coefficients)]
    data.draw(st.randoms(use_true_random=False)).shuffle(terms)
    expanded = "+".join(terms)
    factored = str(factor) + "".join(f"(x-{root})" if root >= 0 else f"(x+{-root})" for root in roots)
    check(factored, expanded, True)
    check(f"y={factored}", f"y={expanded}", True)
    check(f"{factored}=0", f"0=2({expanded})", True)
    at = data.draw(st.integers(0, degree))
    other = "+".join(f"({value + (at == place)})x^{{{degree - place}}}" for place, value in enumerate(coefficients))
    check(factored, other, False)
    if sum(value != 0 for place, value in enumerate(coefficients) if place != at):  # else a multiple of the equation
        check(f"{factored}=0", f"{other}=0", False)


@bounded
@given(small, st.integers(1, 9), st.booleans(), st.booleans(), st.data())
def test_interval_is_equal_in_any_notation(
    low: int, length: int, has_low: bool, has_high: bool, data: st.DataObject
) -> None:
    def notations(low: int, high: int, has_low: bool, has_high: bool) -> list[str]:
        left, right = (r"\le" if has_low else "<"), (r"\le" if has_high else "<")
        above, below = (r"\ge" if has_low else ">"), (r"\ge" if has_high else ">")
        brackets = f"{'[' if has_low else '('}{low}, {high}{']' if has_high else ')'}"
        return [
            brackets, rf"x \in {brackets}", f"{low} {left} x {right} {high}", f"{high} {below} x {above} {low}",
            rf"x {above} {low} \text{{ and }} x {right} {high}", rf"\{{x \in \mathbb{{R}} \mid {low} {left} x {right} {high}\}}",
            rf"\left{brackets[0]}{low},\,{high}\right{brackets[-1]}", f"{2 * low} {left} 2x {right} {2 * high}",
            f"{low} {left.replace(chr(92) + 'le', '≤')} x {right.replace(chr(92) + 'le', '≤')} {high}",
        ]  # fmt: skip

    high = low + length
    one, other = (data.draw(st.sampled_from(notations(low, high, has_low, has_high))) for _ in range(2))
    check(one, other, True)
    changes = [
        (low, high, not has_low, has_high), (low, high, has_low, not has_high), (low - 1, high, has_low, has_high),
        (low, high + 1, has_low, has_high),
    ]  # fmt: skip
    check(one, data.draw(st.sampled_from(notations(*data.draw(st.sampled_from(changes))))), False)


@bounded
@given(st.lists(fractions, min_size=2, max_size=6, unique=True), st.data())
def test_set_is_equal_in_any_order_and_no_element_is_dropped(values: list[Fraction], data: st.DataObject) -> None:
    def written(own: list[Fraction], form: str) -> str:
        texts = [rf"\frac{{{value.numerator}}}{{{value.denominator}}}" for value in own]
        return {"set": r"\{%s\}", "list": "%s", "named": "x = %s"}[form] % ", ".join(texts)

    form = st.sampled_from(["set", "list", "named"])
    shuffled = data.draw(st.permutations(values))
    one, other = data.draw(form), data.draw(form)
    check(written(values, one), written(list(shuffled), other), True)
    check(written(values, one), written(list(shuffled[1:]), other), False)
    check(written(values, one), written([*shuffled, Fraction(12345, 7)], other), False)
    check(written(values, one), written([shuffled[0] + Fraction(1, 10**9), *shuffled[1:]], other), False)


@bounded
@given(st.lists(small, min_size=2, max_size=5), st.data())
def test_tuple_is_equal_in_its_order_only(values: list[int], data: st.DataObject) -> None:
    forms = [r"({})", r"\left({}\right)", r"\langle {} \rangle", "（{}）"]
    one, other = data.draw(st.sampled_from(forms)), data.draw(st.sampled_from(forms))
    text = ", ".join(map(str, values))
    check(one.format(text), other.format(text), True)
    shuffled = data.draw(st.permutations(values))
    if list(shuffled) != values:
        check(one.format(text), other.format(", ".join(map(str, shuffled))), False)
    check(one.format(text), other.format(text + ", 0"), False)


@bounded
@given(st.integers(2, 40), st.integers(-40, 40), st.integers(-3, 3), st.data())
def test_congruence_is_equal_in_any_notation(modulus: int, residue: int, shift: int, data: st.DataObject) -> None:
    def notations(residue: int, modulus: int) -> list[str]:
        return [
            rf"x \equiv {residue} \pmod{{{modulus}}}", rf"x ≡ {residue} (mod {modulus})", f"x = {modulus}k + {residue}",
            rf"x \equiv {residue} \mod {modulus}", rf"x = {residue} + {modulus}n, n \in \mathbb{{Z}}",
        ]  # fmt: skip

    one = data.draw(st.sampled_from(notations(residue, modulus)))
    other = data.draw(st.sampled_from(notations(residue + shift * modulus, modulus)))
    if not (one.endswith(f"k + {residue}") and "k" in other):  # without a word about k, x may be a function of it
        check(one, other, True)
    check(one, data.draw(st.sampled_from(notations(residue + 1, modulus))), False)
    check(one, data.draw(st.sampled_from(notations(residue, modulus + 1))), False)


@bounded
@given(small, small, small, st.integers(1, 5), st.data())
def test_equation_is_equal_up_to_a_factor(a: int, b: int, c: int, factor: int, data: st.DataObject) -> None:
    assume(a and b)
    forms = [
        f"({a})x + ({b})y + ({c}) = 0", f"({a})x + ({b})y = ({-c})", f"0 = ({factor * a})x + ({factor * b})y + ({factor * c})",
        rf"y = -\frac{{({a})x + ({c})}}{{{b}}}", f"({-b})y = ({a})x + ({c})", rf"\frac{{({a})x + ({c})}}{{{factor}}} = \frac{{({-b})y}}{{{factor}}}",
    ]  # fmt: skip
    one, other = data.draw(st.sampled_from(forms)), data.draw(st.sampled_from(forms))
    check(one, other, True)
    check(one, f"({a})x + ({b})y + ({c + 1}) = 0", False)
    check(one, f"({a})x + ({b})z + ({c}) = 0", False)


@bounded
@given(st.lists(st.lists(small, min_size=2, max_size=2), min_size=2, max_size=3), st.data())
def test_matrix_is_equal_entry_by_entry(rows: list[list[int]], data: st.DataObject) -> None:
    def notations(rows: list[list[int]]) -> list[str]:
        inner = r" \\ ".join(" & ".join(map(str, row)) for row in rows)
        doubled = r" \\ ".join(" & ".join(str(2 * cell) for cell in row) for row in rows)
        return [
            *(rf"\begin{{{name}}} {inner} \end{{{name}}}" for name in ("pmatrix", "bmatrix")),
            rf"\left[\begin{{array}}{{cc}} {inner} \end{{array}}\right]", f"Matrix({rows})", str(rows),
            rf"\frac12\begin{{pmatrix}} {doubled} \end{{pmatrix}}",
        ]  # fmt: skip

    one = data.draw(st.sampled_from(notations(rows)))
    check(one, data.draw(st.sampled_from(notations(rows))), True)
    mutant = [list(row) for row in rows]
    mutant[-1][0] += 1
    check(one, data.draw(st.sampled_from(notations(mutant))), False)
    check(one, data.draw(st.sampled_from(notations([*rows, [0, 0]]))), False)


@bounded
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_compared_without_an_error(gold: str, answer: str) -> None:
    assert decide(gold, answer) in (True, False, None)


HOSTILE = r"{ } ( ) [ ] \{ \} | ^ _ \frac \sqrt 1 x n + - * / = < , ; \text{and} \pm ! % ° \in \cup & \\ \ldots . \sum_{k=1}^{9} √ ½ for where mod : f(x)".split()


@bounded
@given(st.lists(st.sampled_from(HOSTILE), max_size=40), st.lists(st.sampled_from(HOSTILE), max_size=10), st.booleans())
def test_any_mathematics_is_compared_without_an_error(gold: list[str], answer: list[str], spaced: bool) -> None:
    joint: Any = " " if spaced else ""
    assert decide(joint.join(gold), joint.join(answer)) in (True, False, None)
