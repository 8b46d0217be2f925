"""sympy's `lambdify` without source code.

`lambdify` prints an expression as Python source, names and all, and executes it; `evalf` of an infinite sum calls it
(https://github.com/sympy/sympy/issues/10805 and its like: sympy does not promise to be safe with foreign expressions).
The replacement walks the tree instead. It knows arithmetic, which is what sums (`evalf.hypsum`) and roots of
polynomials (`rootoftools`) need. Anything else raises NotImplementedError, at which sympy takes another way.
"""

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add, mul
from typing import Any

from deepmath.grading.sympy_patches.loaded_functions import replace_function


def replace_lambdify() -> None:
    """Replace `lambdify` in every loaded module, and for those that are loaded later."""
    from sympy.utilities import lambdify as original

    replace_function(original, lambdify)


def lambdify(arguments: Any, expression: Any, *_: Any, printer: Any = None, **__: Any) -> Callable[..., Any]:
    """Return a function of `arguments`, a symbol or several, that evaluates `expression`.

    Raises:
        NotImplementedError: A printer is given, which would define the arithmetic.
    """
    if printer is not None:
        raise NotImplementedError("lambdify with a printer")
    symbols = tuple(arguments) if isinstance(arguments, list | tuple) else (arguments,)
    return lambda *values: _value(expression, dict(zip(symbols, values, strict=True)))


def _value(node: Any, values: Mapping[Any, Any]) -> Any:
    from mpmath import mp
    from sympy import Add, Integer, Mul, Pow

    if node in values:
        return values[node]
    if isinstance(node, Integer):
        return int(node)
    if isinstance(node, Add | Mul):
        return reduce(add if isinstance(node, Add) else mul, (_value(part, values) for part in node.args))
    if isinstance(node, Pow):
        base, exponent = (_value(part, values) for part in node.args)
        # Integers stay exact, as in the printed source, except below a fraction bar.
        return base**exponent if not isinstance(exponent, int) or exponent >= 0 else mp.mpmathify(base) ** exponent
    if getattr(node, "is_number", False):
        return node._to_mpmath(mp.prec)
    raise NotImplementedError(f"lambdify of {type(node).__name__}")
