"""Patches of sympy and math-verify: they are still needed, still take effect, and change no value.

They change the whole process, so they are tried in another one.
"""

import json
import subprocess
import sys

import pytest

PROGRAM = r"""
import json, sys
import sympy
from math_verify import parser
from latex2sympy2_extended import latex2sympy2
from deepmath.grading.sympy_patches.closed_names import check_parsed_names
from deepmath.grading.sympy_patches.sourceless_lambdify import replace_lambdify
from deepmath.grading.sympy_patches.sourceless_numbers import parse_numbers_without_source

n, x = sympy.symbols("n x")
SUMS = [
    sympy.Sum(x.subs(x, 2) ** n / sympy.factorial(n), (n, 0, sympy.oo)),
    sympy.Sum(1 / (n**2 * 3**n), (n, 1, sympy.oo)),
    sympy.Sum((-1) ** n / sympy.factorial(2 * n), (n, 0, sympy.oo)),
    sympy.Sum(n / sympy.Rational(5, 2) ** n, (n, 0, sympy.oo)),
    sympy.CRootOf(x**5 + x + 1, 0),
    sympy.CRootOf(x**5 - 3 * x + sympy.sqrt(2) ** 2, 1),
]
NUMBERS = ["8", "007", "2.50", ".5", "1,234", "1e5"]

compiled = []
def hook(event, _):
    if event == "compile":
        compiled.append(sys._getframe(1).f_globals.get("__name__", ""))
sys.addaudithook(hook)

def values():
    del compiled[:]
    numbers = [repr(latex2sympy2.latex2sympy(number)) for number in NUMBERS]
    by_numbers = set(compiled)
    del compiled[:]
    sums = [repr(one.evalf(20)) for one in SUMS]
    return {"numbers": numbers, "sums": sums, "by_numbers": sorted(by_numbers), "by_sums": sorted(set(compiled))}

before = values()
sympy.core.cache.clear_cache()
replace_lambdify()
parse_numbers_without_source()
check_parsed_names()
after = values()

def parse(text):
    return parser.parse(f"${text}$", [parser.LatexExtractionConfig()], "no_fallback", parsing_timeout=None)

rejected, kept = not parse(r"\text{[1][0]}"), bool(parse(r"\text{w1}+x_{12}"))
print(json.dumps({"before": before, "after": after, "rejected": rejected, "kept": kept}))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, list[str]]]:
    printed = subprocess.check_output([sys.executable, "-P", "-c", PROGRAM], text=True, stderr=subprocess.DEVNULL)
    return json.loads(printed.splitlines()[-1])


def test_libraries_still_compile_numbers_and_names(found: dict[str, dict[str, list[str]]]) -> None:
    assert "sympy.parsing.sympy_parser" in found["before"]["by_numbers"]
    assert "sympy.utilities.lambdify" in found["before"]["by_sums"]


def test_nothing_is_compiled_with_the_patches(found: dict[str, dict[str, list[str]]]) -> None:
    assert found["after"]["by_numbers"] == []
    assert "sympy.utilities.lambdify" not in found["after"]["by_sums"]


def test_patches_change_no_value(found: dict[str, dict[str, list[str]]]) -> None:
    assert found["after"]["numbers"] == found["before"]["numbers"]
    assert found["after"]["sums"] == found["before"]["sums"]


def test_parsed_names_are_checked(found: dict[str, dict[str, list[str]]]) -> None:
    assert found["rejected"]
    assert found["kept"]
