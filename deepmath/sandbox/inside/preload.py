"""The maths libraries, loaded and warm before the first fork, so that no snippet pays for it."""

import gc
import hashlib
import importlib
import json
import platform
import sys
import warnings

LIBRARIES = ("mpmath", "numpy", "scipy", "sympy")

_MODULES = """
    cmath math random statistics itertools functools collections fractions decimal datetime re string
    numpy numpy.linalg numpy.random numpy.fft numpy.polynomial
    scipy.fft scipy.integrate scipy.interpolate scipy.linalg scipy.optimize scipy.signal scipy.sparse scipy.spatial
    scipy.special scipy.stats
    mpmath sympy sympy.abc sympy.combinatorics sympy.geometry sympy.ntheory sympy.plotting sympy.stats
    sympy.solvers.diophantine encodings.unicode_escape encodings.idna
    linecache traceback
""".split()

_WARM_UP = """
from sympy import *
x, y, n = symbols("x y n")
solve(x**2 - 5*x + 6, x), solve([x + y - 3, x - y - 1], [x, y]), factor(x**4 - 1), expand((x + y)**3)
simplify(sin(x)**2 + cos(x)**2), diff(x*exp(x), x), integrate(x*sin(x), x), limit(sin(x)/x, x, 0)
summation(n, (n, 1, 10)), Matrix([[1, 2], [3, 4]]).det(), factorint(360), isprime(97), nsimplify(0.5), pi.evalf(30)
sympify("x**2 + 1"), Rational(1, 3) + sqrt(2), series(exp(x), x, 0, 4), latex(x**2)
"""


def load() -> dict[str, str]:
    """Load the libraries, run the code paths that fill their caches, and return the versions by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _MODULES:
            importlib.import_module(name)
        exec(_WARM_UP, {})
    versions = {name: str(sys.modules[name].__version__) for name in LIBRARIES}
    return {"python": platform.python_version(), **versions}


def freeze() -> None:
    """Keep the garbage collector of the forked children off the pages they share with this process."""
    gc.collect()
    gc.freeze()


def digest(versions: dict[str, str]) -> str:
    """SHA-256 in hexadecimal over the versions in canonical JSON."""
    return hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()
