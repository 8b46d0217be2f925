"""Sets of modules that are imported once, before the first sandbox is forked."""

import importlib
import platform
import sys
import warnings
from dataclasses import dataclass

from deepmath.sandbox.allowed_modules import STANDARD_MODULES


@dataclass(frozen=True, slots=True)
class PreloadSet:
    """Modules to import, and code that then fills their caches. `set_up` is code that runs before the imports.

    All run before the sandbox locks itself down, so all are trusted.
    """

    modules: tuple[str, ...]
    warm_up: str = ""
    set_up: str = ""

    def load(self) -> dict[str, str]:
        """Import the modules into this process, between `set_up` and `warm_up`, and return the versions by name.

        Raises:
            Exception: Whatever a module or the code raises.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(self.set_up, {})
            for name in self.modules:
                importlib.import_module(name)
            exec(self.warm_up, {})
        packages = sorted({name.partition(".")[0] for name in self.modules} - sys.stdlib_module_names)
        return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    if version := getattr(sys.modules[package], "__version__", None):
        return str(version)
    from importlib import metadata  # slow to import

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


NOTHING = PreloadSet(())
"""A fast start. The first import of a library in a sandbox then takes its full time."""

MATHS = PreloadSet(
    modules=(
        *(name for name in STANDARD_MODULES if name != "this"),  # its import prints
        *"""
        networkx
        numpy numpy.linalg numpy.random numpy.fft numpy.polynomial
        scipy.fft scipy.integrate scipy.interpolate scipy.linalg scipy.optimize scipy.signal scipy.sparse scipy.spatial
        scipy.special scipy.stats
        mpmath sympy sympy.abc sympy.combinatorics sympy.geometry sympy.ntheory sympy.plotting sympy.stats
        sympy.solvers.diophantine encodings.unicode_escape encodings.idna
        linecache traceback
        """.split(),
    ),
    warm_up="""
from sympy import *
x, y, n = symbols("x y n")
solve(x**2 - 5*x + 6, x), solve([x + y - 3, x - y - 1], [x, y]), factor(x**4 - 1), expand((x + y)**3)
simplify(sin(x)**2 + cos(x)**2), diff(x*exp(x), x), integrate(x*sin(x), x), limit(sin(x)/x, x, 0)
summation(n, (n, 1, 10)), Matrix([[1, 2], [3, 4]]).det(), factorint(360), isprime(97), nsimplify(0.5), pi.evalf(30)
sympify("x**2 + 1"), Rational(1, 3) + sqrt(2), series(exp(x), x, 0, 4), latex(x**2)
""",
)
"""The standard modules that snippets may import, and the maths libraries: mpmath, networkx, numpy, scipy, sympy."""

PLOTS = PreloadSet(
    modules=(*MATHS.modules, "matplotlib.pyplot", "matplotlib.backends.backend_agg"),
    warm_up=f"""
{MATHS.warm_up}
import mpl_toolkits.mplot3d
from deepmath.sandbox.inside import figure_manager
figure_manager.install()
""",
    set_up="""
from deepmath.sandbox.inside.matplotlib_patches import user_folders
user_folders.import_without_user_folders()
""",
)
"""MATHS and matplotlib, whose figures become rich outputs. Allow PLOT_LIBRARIES with it."""
