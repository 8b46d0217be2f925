"""Geometry: areas, surfaces, lengths."""

from collections.abc import Callable
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


# Right triangles with coprime sides that a solver by hand knows, by their legs.
_KNOWN = {(3, 4): 5, (5, 12): 13, (8, 15): 17, (7, 24): 25, (20, 21): 29}

# Legs below 400 of the right triangles with integer sides.
_LEGS = [(a, b) for a in range(3, 400) for b in range(a, 400) if isqrt(a * a + b * b) ** 2 == a * a + b * b]


def _draw_legs(where: Callable[[int, tuple[int, int]], bool]) -> Draw:
    """Draw the legs of a right triangle where `where` holds for their gcd and the legs divided by it."""
    scaled = [(a, b, gcd(a, b)) for a, b in _LEGS]
    legs = [(a, b) for a, b, g in scaled if where(g, (a // g, b // g))]

    def draw(random: Random) -> Parameters:
        a, b = random.sample(random.choice(legs), 2)
        return {"a": a, "b": b}

    return draw


def _easy_legs(g: int, coprime: tuple[int, int]) -> bool:
    return coprime in _KNOWN and g <= (30 if coprime == (3, 4) else 9)


def _hypotenuse(a: int, b: int) -> str:
    g = gcd(a, b)
    x, y = sorted((a // g, b // g))
    text = f"{short_gcd(a, b)}{x * g}={x}*{g}+0. {y * g}={y}*{g}+0. "
    root = isqrt(x * x + y * y)
    if (x, y) not in _KNOWN:
        text += f"{short_product(x, x)}{short_product(y, y)}{short_sum(x * x, y * y)}{short_product(root, root)}"
    return f"{text}So {x}, {y}, {root}. {short_product(root, g)}"


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
            _draw_legs(_easy_legs),
            _draw_legs(lambda g, coprime: coprime in _KNOWN and not _easy_legs(g, coprime)),
            _draw_legs(lambda _, coprime: coprime not in _KNOWN),
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
            *(
                uniform(
                    a=sides,
                    b=sides,
                    h=heights,
                    where=lambda p: p["a"] != p["b"] and (p["a"] + p["b"]) * p["h"] % 2 == 0,
                )
                for sides, heights in (((2, 12), (2, 12)), ((13, 60), (3, 9)), ((61, 999), (13, 99)))
            ),
        ),
        answer=lambda a, b, h: (a + b) * h // 2,
        code=("({a} + {b})*{h}//2",),
        working=_trapezoid,
        canonical=unordered("a", "b"),
    ),
)
