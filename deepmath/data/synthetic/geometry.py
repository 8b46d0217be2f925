"""Geometry: areas, surfaces, lengths."""

from math import gcd, isqrt
from random import Random

from deepmath.data.synthetic.problem_family import Draw, Parameters, ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import short_gcd, short_product, short_quotient, short_sum


def _box_surface(a: int, b: int, c: int) -> str:
    sides = a * b + b * c + a * c
    return (
        f"{short_product(a, b)}{short_product(b, c)}{short_product(a, c)}{short_sum(a * b, b * c)}"
        f"{short_sum(a * b + b * c, a * c)}{short_sum(sides, sides)}"
    )


def _coprime_legs(longest: int) -> list[tuple[int, int]]:
    """Return the coprime legs, shorter one first, of the right triangles with integer sides, by Euclid's formula."""
    pairs = [(m, n) for m in range(2, longest) for n in range(1, m) if (m - n) % 2 and gcd(m, n) == 1]
    legs = [(m * m - n * n, 2 * m * n) for m, n in pairs]
    return sorted((min(pair), max(pair)) for pair in legs if max(pair) <= longest)


# A solver by hand knows the hypotenuse for these.
_KNOWN = [(3, 4), (5, 12), (8, 15), (7, 24), (20, 21), (9, 40), (12, 35)]
_UNKNOWN = [legs for legs in _coprime_legs(120) if legs not in _KNOWN]


def _draw_legs(coprime: list[tuple[int, int]], least: int, most: int) -> Draw:
    """Draw a multiple of coprime legs whose longer leg is from `least` to `most`."""
    legs = [(k * x, k * y) for x, y in coprime for k in range(1, most // y + 1) if k * y >= least]

    def draw(random: Random) -> Parameters:
        a, b = random.sample(random.choice(legs), 2)
        return {"a": a, "b": b}

    return draw


def _hypotenuse(a: int, b: int) -> str:
    g = gcd(a, b)
    x, y = sorted((a // g, b // g))
    root = isqrt(x * x + y * y)
    text = short_gcd(a, b)
    if g > 1:
        text += f"{x}*{g}={x * g}. {y}*{g}={y * g}. "
    if (x, y) in _UNKNOWN:
        text += f"{short_product(x, x)}{short_product(y, y)}{short_sum(x * x, y * y)}{root}*{root}={root * root}. "
    return text + short_product(root, g)


def _draw_trapezoid(sides: tuple[int, int], height: tuple[int, int]) -> Draw:
    """Draw two sides and a height in the closed ranges such that the area is an integer."""
    return uniform(a=sides, b=sides, h=height, where=lambda p: p["a"] != p["b"] and (p["a"] + p["b"]) * p["h"] % 2 == 0)


def _trapezoid(a: int, b: int, h: int) -> str:
    both = a + b
    if both % 2:
        return f"{short_sum(a, b)}{short_quotient(h, 2)}{short_product(both, h // 2)}"
    return f"{short_sum(a, b)}{short_quotient(both, 2)}{short_product(both // 2, h)}"


FAMILIES = (
    ProblemFamily(
        name="box_surface",
        wordings=(
            "What is the surface area of a box with sides {a}, {b} and {c}?",
            "A cuboid measures {a} by {b} by {c}. Find its surface area.",
            "How much paper covers a box of {a} x {b} x {c} cm, in square cm?",
            "Compute the total area of the six faces of a box, {a} by {b} by {c}.",
        ),
        draws=(
            uniform(a=(2, 8), b=(2, 8), c=(2, 8), where=lambda p: p["a"] * p["b"] + (p["a"] + p["b"]) * p["c"] < 100),
            # Exactly one side above 9, then at least two.
            uniform(a=(2, 30), b=(2, 30), c=(2, 30), where=lambda p: sum(side > 9 for side in p.values()) == 1),
            uniform(a=(3, 40), b=(3, 40), c=(3, 40), where=lambda p: sum(side > 9 for side in p.values()) > 1),
        ),
        answer=lambda a, b, c: 2 * (a * b + b * c + a * c),
        code=("a, b, c = {a}, {b}, {c}\n2*(a*b + b*c + a*c)",),
        working=_box_surface,
        canonical=unordered("a", "b", "c"),
    ),
    ProblemFamily(
        name="hypotenuse",
        wordings=(
            "A right triangle has legs {a} and {b}. How long is the hypotenuse?",
            "Find the diagonal of a rectangle with sides {a} and {b}.",
            "Walk {a} m east and {b} m north. How many metres is it straight back?",
            "What is the square root of {a}^2 + {b}^2?",
        ),
        draws=(
            _draw_legs(_KNOWN, 4, 99),
            _draw_legs(_KNOWN, 100, 399),
            _draw_legs(_UNKNOWN, 50, 800),
        ),
        answer=lambda a, b: isqrt(a * a + b * b),
        code=("import math\nmath.isqrt({a}**2 + {b}**2)",),
        working=_hypotenuse,
        canonical=unordered("a", "b"),
    ),
    ProblemFamily(
        name="trapezoid",
        wordings=(
            "A trapezoid has parallel sides {a} and {b} and height {h}. What is its area?",
            "Find the area of a trapezoid with bases {a} and {b} and height {h}.",
            "The parallel sides of a field are {a} m and {b} m, {h} m apart. What is its area in square metres?",
            "Compute the area of the trapezoid with bases {a}, {b} and height {h}.",
        ),
        draws=(
            _draw_trapezoid(sides=(2, 12), height=(2, 12)),
            _draw_trapezoid(sides=(13, 60), height=(3, 9)),
            _draw_trapezoid(sides=(61, 999), height=(13, 99)),
        ),
        answer=lambda a, b, h: (a + b) * h // 2,
        code=("({a} + {b})*{h}//2",),
        working=_trapezoid,
        canonical=unordered("a", "b"),
    ),
)
