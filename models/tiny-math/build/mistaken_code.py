"""Snippets with a mistake that people make too: the base model writes them beside the right ones.

Without them the base model's majority vote would be right wherever it computes at all, and GRPO would only train it to
call. How often a mistake comes differs from family to family: from seldom to more often than the right program.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class MistakenCode:
    """Snippets of a family that compute something else than the answer."""

    share: float
    """Share of these among the programs that the corpus shows for the family."""
    snippets: tuple[str, ...]
    """`str.format` templates, as `ProblemFamily.code`."""


_RARE, _FREQUENT, _USUAL = 0.1, 0.35, 0.62
_SYMPY = "from sympy import *\nx = symbols('x')\n"

MISTAKES = {
    # Adds instead of multiplying.
    "product": MistakenCode(_RARE, ("{a} + {b}",)),
    # Loses the brackets.
    "brackets": MistakenCode(_FREQUENT, ("print({a} + {b}*{c} - {d})",)),
    # Adds numerators and denominators.
    "fraction_sum": MistakenCode(_USUAL, ("from fractions import Fraction\nprint(Fraction({a} + {c}, {b} + {d}))",)),
    # Loses a zero.
    "percentage": MistakenCode(_FREQUENT, ("{p}*{n}//10",)),
    # Divides by the number of plus signs.
    "mean": MistakenCode(_USUAL, ("sum([{a}, {b}, {c}, {d}, {e}])//4",)),
    "gcd": MistakenCode(_RARE, ("import math\nmath.lcm({a}, {b})",)),
    "lcm": MistakenCode(_FREQUENT, ("import math\nmath.gcd({a}, {b})",)),
    "modular_power": MistakenCode(_RARE, ("pow({a}, {n} - 1, {m})",)),
    # Counts the prime factors.
    "divisor_count": MistakenCode(_USUAL, ("from sympy import primefactors\nlen(primefactors({n}))",)),
    # Counts the odd numbers.
    "prime_count": MistakenCode(_FREQUENT, ("print(sum(k % 2 for k in range({a}, {b} + 1)))",)),
    "congruences": MistakenCode(_USUAL, ("max(x for x in range(1, 2*{m}*{n}) if x % {m} == {a} and x % {n} == {b})",)),
    "linear_equation": MistakenCode(_RARE, (f"{_SYMPY}solve({{a}}*x - {{b}} - {{c}})[0]",)),
    "quadratic_root": MistakenCode(_FREQUENT, (f"{_SYMPY}min(solve(x**2 - {{s}}*x + {{p}}))",)),
    "linear_system": MistakenCode(
        _FREQUENT,
        ("from sympy import *\nx, y = symbols('x y')\nsolve([{a}*x + {b}*y - {e}, {c}*x - {d}*y - {f}])[y]",),
    ),
    # Takes powers one too low.
    "polynomial_value": MistakenCode(_USUAL, ("x = {t}\nprint({a}*x**2 + {b}*x + {c})",)),
    # Minds the order.
    "combinations": MistakenCode(_FREQUENT, ("import math\nmath.perm({n}, {k})",)),
    # Counts the coins of each kind alone.
    "coins": MistakenCode(_FREQUENT, ("print({n}//{a} + {n}//{b})",)),
    # Counts multiples of both.
    "multiples": MistakenCode(_USUAL, ("len([k for k in range(1, {n} + 1) if k % {a} == 0 and k % {b} == 0])",)),
    # Puts the first ball back.
    "urn": MistakenCode(
        _USUAL, ("r, b = {r}, {b}\nn = r + b\nfrom fractions import Fraction\nprint(Fraction(r*r, n*n))",)
    ),
    # Gives the last term.
    "arithmetic_sum": MistakenCode(_RARE, ("print({a} + {d}*({n} - 1))",)),
    "geometric_term": MistakenCode(_FREQUENT, ("{a}*{r}**{n}",)),
    "recurrence": MistakenCode(_RARE, ("a, b = {a}, {b}\nfor k in range({n}):\n    a, b = b, a + b\nprint(b)",)),
    # Computes the volume.
    "box_surface": MistakenCode(_RARE, ("a, b, c = {a}, {b}, {c}\na*b*c",)),
    "hypotenuse": MistakenCode(_RARE, ("{a} + {b}",)),
    # Does not halve.
    "trapezoid": MistakenCode(_USUAL, ("({a} + {b})*{h}",)),
    "derivative": MistakenCode(_FREQUENT, (f"{_SYMPY}({{a}}*x**3 + {{b}}*x**2 + {{c}}*x).subs(x, {{t}})",)),
    "integral": MistakenCode(_RARE, (f"{_SYMPY}({{a}}*x**2 + {{b}}*x).subs(x, {{t}})",)),
    # Gives the place of the minimum.
    "minimum": MistakenCode(_FREQUENT, (f"{_SYMPY}f = x**2 - {{b}}*x + {{c}}\nsolve(diff(f))[0]",)),
    "gcd_square": MistakenCode(_USUAL, ("import math\ng = math.gcd({a}, {b})\ng", "(g + {c})**2")),
    "sum_remainder": MistakenCode(_RARE, ("s = sum(k**2 for k in range(1, {n}))\ns", "s % {m}")),
    "product_digits": MistakenCode(_FREQUENT, ("p = {a}*{b}\np", "{c} + sum(int(d) for d in str(p))")),
    "solution_value": MistakenCode(_USUAL, ("x = ({c} - {b})//{a}\nx", "(x + {d})**2")),
}
"""Mistake of each family, by its name."""
