"""Geometry: areas, surfaces, lengths."""

from math import isqrt
from random import Random

from deepmath.data.synthetic.problem_family import Parameters, ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import add, column_add, divide, long_multiply, multiply


def _box_surface(a: int, b: int, c: int) -> str:
    sides = a * b + b * c + a * c
    return (
        f"The three faces. {multiply(a, b)}{multiply(b, c)}{multiply(a, c)}{add(a * b, b * c)}"
        f"{add(a * b + b * c, a * c)}Each comes twice. {add(sides, sides)}"
    )


# Legs below 400 of the right triangles with integer sides.
_LEGS = [(a, b) for a in range(3, 400) for b in range(a, 400) if isqrt(a * a + b * b) ** 2 == a * a + b * b]


def _draw_legs(random: Random) -> Parameters:
    legs = list(random.choice(_LEGS))
    random.shuffle(legs)
    return dict(zip("ab", legs, strict=True))


def _hypotenuse(a: int, b: int) -> str:
    c = isqrt(a * a + b * b)
    return (
        f"Square the legs. {multiply(a, a)}{multiply(b, b)}{add(a * a, b * b)}"
        f"Find the root. {multiply(c, c)}It is {c}. "
    )


def _trapezoid(a: int, b: int, h: int) -> str:
    return (
        f"Add the parallel sides. {column_add(a, b)}Multiply by the height. {long_multiply(a + b, h)}Take half. "
        f"{divide((a + b) * h, 2)}"
    )


FAMILIES = (
    ProblemFamily(
        name="box_surface",
        wordings=(
            "What is the surface area of a box with sides {a}, {b} and {c}?",
            "A cuboid measures {a} by {b} by {c}. Find its surface area.",
            "How much paper covers a box of {a} x {b} x {c} cm, in square cm?",
            "Compute the total area of the six faces of an {a} by {b} by {c} box.",
        ),
        draws=(uniform(a=(3, 40), b=(3, 40), c=(3, 40)),),
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
        draws=(_draw_legs,),
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
            uniform(
                a=(10, 99),
                b=(10, 99),
                h=(4, 60),
                where=lambda p: p["a"] != p["b"] and (p["a"] + p["b"]) * p["h"] % 2 == 0,
            ),
        ),
        answer=lambda a, b, h: (a + b) * h // 2,
        code=("({a} + {b})*{h}//2",),
        working=_trapezoid,
        canonical=unordered("a", "b"),
    ),
)
